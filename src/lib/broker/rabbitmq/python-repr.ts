import { isJsonObject, type Json, type JsonObject } from '../../task/json.js'

/** Celery cuts here, too; the whole table of headers has to fit into 64 KiB. */
const LONGEST = 1024

/** Arguments as Python shows a tuple of them. Celery's logs and events show this text, and nothing reads it back. */
export function argsRepr(args: readonly Json[]): string {
  const inner = joined(args, LONGEST)
  return cut(args.length === 1 ? `(${inner},)` : `(${inner})`)
}

export const kwargsRepr = (kwargs: JsonObject): string => cut(repr(kwargs, LONGEST))

const cut = (text: string): string => (text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 3).replace(/\p{Surrogate}$/u, '')}...`)

/** @param room how much of the text is of use: what comes after it is not written */
function repr(value: Json, room: number): string {
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'string') return quoted(value.slice(0, room))
  if (typeof value === 'number') return String(value)
  if (!isJsonObject(value)) return `[${joined(value as readonly Json[], room)}]`
  let text = ''
  for (const [key, inner] of Object.entries(value)) {
    if (text.length > room) break
    text += `${text === '' ? '' : ', '}${quoted(key)}: ${repr(inner, room - text.length)}`
  }
  return `{${text}}`
}

function joined(values: readonly Json[], room: number): string {
  let text = ''
  for (const value of values) {
    if (text.length > room) break
    text += `${text === '' ? '' : ', '}${repr(value, room - text.length)}`
  }
  return text
}

const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** Single quotes, unless only double ones save an escape. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll(quote, `\\${quote}`)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is to be shown
    .replaceAll(/[\u0000-\u001f\u007f]/g, (one) => NAMED[one] ?? `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`)
  return quote + escaped.replaceAll(/\p{Surrogate}/gu, '\ufffd') + quote
}
