export interface Progress {
  advance(count?: number): void
  /** Takes the bar off the screen; a second call does nothing. */
  stop(): void
}

const UNSEEN: Progress = { advance: () => {}, stop: () => {} }

/**
 * A bar on stderr, redrawn at most ten times a second; unseen when stderr is not a terminal or nobody wants to see it.
 *
 * @param label what is being counted: `Retrying`
 */
export async function openProgress(label: string, total: number, seen: boolean): Promise<Progress> {
  if (!seen || !process.stderr.isTTY) return UNSEEN
  const { SingleBar } = await import('cli-progress')
  const format = `${label} [{bar}] {value}/{total} {eta_formatted}`
  const bar = new SingleBar({ format, stream: process.stderr, fps: 10, hideCursor: true, clearOnComplete: true, barsize: 30 })
  bar.start(total, 0)
  return { advance: (count = 1) => bar.increment(count), stop: () => bar.stop() }
}
