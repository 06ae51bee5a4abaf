import type { Json } from '../task/json.js'

/** An instant is stored in epoch milliseconds. */
export const instant = (stored: number): Date => new Date(stored)

export const instantOrNull = (stored: number | null): Date | null => (stored === null ? null : new Date(stored))

/** JSON columns hold text; SQL NULL stands for JSON null. */
export const json = (text: string | null): Json => (text === null ? null : (JSON.parse(text) as Json))
