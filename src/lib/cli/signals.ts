/** What a shell makes of a program that a signal ended. */
export const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGQUIT: 131 } as const

export type Signal = keyof typeof EXIT_CODES

/** Has these signals heard, instead of ending the process, until the function it returns is called. */
export function onSignals(signals: readonly Signal[], heard: (signal: Signal) => void): () => void {
  const hears = signals.map((signal) => [signal, () => heard(signal)] as const)
  for (const [signal, hear] of hears) process.on(signal, hear)
  return () => {
    for (const [signal, hear] of hears) process.off(signal, hear)
  }
}
