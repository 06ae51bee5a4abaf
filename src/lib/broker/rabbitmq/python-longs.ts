/** The parts of a connection of amqplib's that read what has arrived. */
interface FrameReader {
  rest: Buffer
  recvFrame(): unknown
}

/** Of each type in a table of AMQP's, how many bytes a value has; null: they are counted in front of it. */
const SIZES: Readonly<Record<string, number | null>> = {
  ...{ V: 0, t: 1, b: 1, B: 1, s: 2, u: 2, I: 4, i: 4, f: 4, D: 5, d: 8, l: 8, L: 8, T: 8 },
  ...{ S: null, x: null, F: null, A: null },
}

const HEADER_FRAME = 2
/** Type, channel and size before the payload; one byte that ends the frame after it. */
const BEFORE = 7
/** Class, weight, size of the body and flags, before the properties. */
const FIXED = 14
const HAS_CONTENT_TYPE = 0x8000
const HAS_CONTENT_ENCODING = 0x4000
const HAS_HEADERS = 0x2000

const LONG = 'l'.charCodeAt(0)

/**
 * Lets amqplib read the headers of messages from Python, whose library writes a whole number beyond 32 bits as `L`: amqplib
 * knows the same eight bytes as `l`, and drops the connection at an `L`. Letters that neither knows RabbitMQ itself refuses.
 *
 * @param connection of amqplib; one with other insides is left as it is
 */
export function readLongs(connection: object): void {
  const reader = connection as Partial<FrameReader>
  const { recvFrame } = reader
  if (!recvFrame || !Buffer.isBuffer(reader.rest)) return
  reader.recvFrame = () => {
    renameLongs(reader.rest as Buffer)
    return recvFrame.call(connection)
  }
}

/** @param rest what has arrived and is not read yet, from the beginning of a frame on; it is changed where it lies */
export function renameLongs(rest: Buffer): void {
  if (rest.length < BEFORE + FIXED || rest[0] !== HEADER_FRAME || rest.length <= BEFORE + rest.readUInt32BE(3)) return
  const flags = rest.readUInt16BE(BEFORE + FIXED - 2)
  if (!(flags & HAS_HEADERS)) return
  const encoding = BEFORE + FIXED + shortString(rest, BEFORE + FIXED, flags & HAS_CONTENT_TYPE)
  const table = encoding + shortString(rest, encoding, flags & HAS_CONTENT_ENCODING)
  renameIn(rest, table + 4, table + 4 + rest.readUInt32BE(table), true)
}

const shortString = (rest: Buffer, at: number, isThere: number): number => (isThere ? 1 + (rest[at] ?? 0) : 0)

/** The fields of a table, or the values of an array. */
function renameIn(rest: Buffer, from: number, end: number, isTable: boolean): void {
  for (let at = from; at < end; ) {
    if (isTable) at += 1 + (rest[at] ?? 0)
    const type = String.fromCharCode(rest[at] ?? 0)
    const size = SIZES[type]
    if (size === undefined) return
    if (type === 'L') rest[at] = LONG
    const length = size ?? 4 + rest.readUInt32BE(at + 1)
    if (type === 'F' || type === 'A') renameIn(rest, at + 5, at + 1 + length, type === 'F')
    at += 1 + length
  }
}
