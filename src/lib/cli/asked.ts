/** Whether `flag` stands among the words before `--`. For what must be known although the words may not parse. */
export function isAsked(argv: readonly string[], flag: string): boolean {
  const end = argv.indexOf('--')
  return (end === -1 ? argv : argv.slice(0, end)).includes(flag)
}
