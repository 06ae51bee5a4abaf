/** Matches nothing. */
const NEVER = 'x^'

/** A set, or any one character. */
const PIECE = /\[(\^?)(\]?[^\]]*)\]|./gs

/** How a regular expression names a character by its number. */
export type Naming = (codePoint: number) => string

/** A glob as a regular expression whose `.` is any character and whose `$` is the end. A bracket that is never closed matches nothing, as in SQLite. */
export function regexOf(glob: string, naming: Naming): string {
  const pieces = [...glob.matchAll(PIECE)].map(([piece, negated, set]) => {
    if (set) return `[${negated}${membersOf(set, naming)}]`
    if (piece.startsWith('[')) return NEVER
    if (piece === '*') return '.*'
    return piece === '?' ? '.' : piece.replace(/[.+^${}()|\]\\]/, '\\$&')
  })
  return pieces.includes(NEVER) ? NEVER : `^${pieces.join('')}$`
}

/** The characters and ranges of a set; one whose end comes before its beginning has nothing in it. */
function membersOf(set: string, naming: Naming): string {
  const escaped = (character: string): string => naming(character.codePointAt(0) ?? 0)
  return set.replaceAll(/(.)(?:-(.))?/gsu, (_, from: string, to: string | undefined) => {
    if (to === undefined) return escaped(from)
    return from <= to ? `${escaped(from)}-${escaped(to)}` : escaped(from)
  })
}
