import { unzipSync } from 'node:zlib'
import { UsageError } from '../../task/errors.js'
import { MAX_JSON_BYTES } from '../../task/json.js'

/** What a body may become when it is unpacked: the largest arguments there may be, several times escaped. */
const LONGEST = 4 * MAX_JSON_BYTES

/**
 * The body of a task message as a value of JSON.
 *
 * @param compression the header of that name; Celery writes `application/x-gzip` and means zlib
 * @throws {UsageError} for what is no JSON, or packed in a way that is not known here
 */
export function readBody(content: Buffer, contentType: unknown, compression: unknown): unknown {
  if (contentType !== 'application/json') {
    throw new UsageError(`content type: expected application/json, got: ${contentType === undefined ? 'none' : String(contentType)}`)
  }
  const text = unpacked(content, compression).toString('utf8')
  try {
    return JSON.parse(text)
  } catch (error) {
    return parseLoose(text, error)
  }
}

function unpacked(content: Buffer, compression: unknown): Buffer {
  if (compression === undefined || compression === null) return content
  if (compression !== 'application/x-gzip' && compression !== 'zlib' && compression !== 'gzip') {
    throw new UsageError(`compression: expected zlib or gzip, got: ${String(compression)}`)
  }
  try {
    return unzipSync(content, { maxOutputLength: LONGEST })
  } catch (error) {
    throw new UsageError(`body: it cannot be unpacked: ${error instanceof Error ? error.message : error}`)
  }
}

const STRING_OR_WORD = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g

/** Python writes numbers that JSON does not have; they become null. */
function parseLoose(text: string, error: unknown): unknown {
  try {
    return JSON.parse(text.replaceAll(STRING_OR_WORD, (found) => (found.startsWith('"') ? found : 'null')))
  } catch {
    throw new UsageError(`body: expected JSON: ${error instanceof Error ? error.message : error}`)
  }
}
