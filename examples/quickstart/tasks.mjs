import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { createApp } from 'taskledger'

// Where the ledger is stands in taskledger.config.json of the folder this runs in.
export const app = createApp()

/** Every file of a package; what it has installed below itself are packages of their own. */
async function* filesOf(folder) {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory() && entry.name !== 'node_modules') yield* filesOf(path)
    else if (entry.isFile()) yield path
  }
}

/** Reads one installed package: its licence, how many files it has, how large they are, and a digest of them all. */
export const audit = app.task('audit', async (folder) => {
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  await pause(100) // a killed worker is to be in the middle of something on a fast machine, too
  const digest = createHash('sha256')
  let files = 0
  let bytes = 0
  for await (const file of filesOf(folder)) {
    files += 1
    bytes += (await stat(file)).size
    await pipeline(createReadStream(file), digest, { end: false })
  }
  return { package: `${manifest.name}@${manifest.version}`, licence: manifest.license ?? null, files, bytes, sha256: digest.digest('hex') }
})
