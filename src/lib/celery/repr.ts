import type { Json } from '../task/json.js'

/** Deeper than any Celery shows; it bounds what a hostile text makes this program do. */
const MAX_DEPTH = 50

class UnreadableError extends Error {}

/**
 * The value that a repr of Celery's shows; null where the text does not tell it exactly.
 *
 * Events carry arguments and results as `saferepr` writes them (celery/utils/saferepr.py), which is not Python's own repr: a
 * quote in a text is escaped, a backslash is not, and what is too long or too deep ends in `...`, in a text also within its quotes.
 * So a text with a backslash, but for an escaped quote that can be nothing else, or with `...` at its end might be of another value,
 * and is not read. Neither are objects, bytes, sets, whole numbers beyond 2^53, and a dict with keys that are no texts.
 */
export function readRepr(text: string): { readonly value: Json } | null {
  try {
    const reader = new ReprReader(text)
    const value = reader.value(0)
    return reader.ended ? { value } : null
  } catch (error) {
    if (error instanceof UnreadableError) return null
    throw error
  }
}

class ReprReader {
  private at = 0

  constructor(private readonly text: string) {}

  get ended(): boolean {
    return this.at === this.text.length
  }

  value(depth: number): Json {
    if (depth > MAX_DEPTH) throw new UnreadableError()
    switch (this.text[this.at]) {
      case "'":
        return this.quoted()
      case '"':
        return this.doubleQuoted()
      case '[':
        return this.list(depth)
      case '(':
        return this.tuple(depth)
      case '{':
        return this.dict(depth)
      default:
        return this.word()
    }
  }

  private take(pattern: RegExp): string | null {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)?.[0] ?? null
    this.at += found?.length ?? 0
    return found
  }

  private took(text: string): boolean {
    if (!this.text.startsWith(text, this.at)) return false
    this.at += text.length
    return true
  }

  private word(): Json {
    const word = this.take(/[\w.+-]+/y) ?? ''
    if (word === 'None') return null
    if (word === 'True' || word === 'False') return word === 'True'
    if (!/^-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?$/.test(word)) throw new UnreadableError()
    const number = Number(word)
    const exact = /[.e]/.test(word) ? Number.isFinite(number) : Number.isSafeInteger(number)
    if (!exact) throw new UnreadableError()
    return number
  }

  private quoted(): string {
    const written = this.take(/'[^'\\]*(?:\\'(?![,:)\]}]|$)[^'\\]*)*'/y)
    return whole(written?.replaceAll("\\'", "'") ?? null)
  }

  /** Only Python's own repr writes these, for a text that has a single quote in it. */
  private doubleQuoted(): string {
    return whole(this.take(/"[^"\\]*"/y))
  }

  private list(depth: number): Json[] {
    this.at += 1
    const items: Json[] = []
    if (this.took(']')) return items
    do items.push(this.value(depth + 1))
    while (this.took(', '))
    if (!this.took(']')) throw new UnreadableError()
    return items
  }

  /** A single thing in brackets is a tuple by its comma alone. */
  private tuple(depth: number): Json[] {
    this.at += 1
    if (this.took(')')) return []
    const items = [this.value(depth + 1)]
    if (this.took(',)')) return items
    while (this.took(', ')) items.push(this.value(depth + 1))
    if (items.length === 1 || !this.took(')')) throw new UnreadableError()
    return items
  }

  private dict(depth: number): Json {
    this.at += 1
    const entries: [string, Json][] = []
    if (this.took('}')) return {}
    do {
      const key = this.value(depth + 1)
      if (typeof key !== 'string' || !this.took(': ')) throw new UnreadableError()
      entries.push([key, this.value(depth + 1)])
    } while (this.took(', '))
    if (!this.took('}')) throw new UnreadableError()
    return Object.fromEntries(entries)
  }
}

/** A text without its quotes. */
function whole(written: string | null): string {
  const text = written?.slice(1, -1)
  if (text === undefined || text.endsWith('...')) throw new UnreadableError()
  return text
}
