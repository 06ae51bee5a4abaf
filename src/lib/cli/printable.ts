/** Control characters, line separators and the marks that reorder text on a screen. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

const escaped = (character: string): string => SHORT[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

/**
 * `text` on one line, with nothing in it that a terminal obeys. For whatever comes out of the database: a task's name
 * or an error's message may have been written by anybody.
 */
export const printable = (text: string): string => text.replace(UNPRINTABLE, escaped)

/** The same for text of several lines, such as a traceback: line ends stay. */
export const printableLines = (text: string): string => text.split(/\r?\n/).map(printable).join('\n')
