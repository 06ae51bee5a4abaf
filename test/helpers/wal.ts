import { readFile } from 'node:fs/promises'

/** Commits in a write-ahead log of SQLite's: the last frame of each names the size of the database, every other 0. */
export async function commitsIn(walFile: string): Promise<number> {
  const wal = await readFile(walFile)
  const pageSize = wal.readUInt32BE(8)
  let commits = 0
  for (let at = 32; at + 24 + pageSize <= wal.length; at += 24 + pageSize) if (wal.readUInt32BE(at + 4) > 0) commits += 1
  return commits
}
