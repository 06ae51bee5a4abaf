import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

/** amqplib's own code for tables of headers, which it does not export. */
const codec: {
  encodeTable(buffer: Buffer, fields: object, offset: number): number
  decodeFields(fields: Buffer): Record<string, unknown>
} = require(join(dirname(require.resolve('amqplib')), 'lib/codec.js'))

export const decodeFields = codec.decodeFields

/** The fields of a table as amqplib sends them, without their length. */
export function encodedFields(fields: object): Buffer {
  const buffer = Buffer.alloc(1 << 16)
  return buffer.subarray(4, codec.encodeTable(buffer, fields, 0))
}
