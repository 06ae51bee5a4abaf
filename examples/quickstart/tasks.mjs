import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { chain, chord, createApp } from 'taskledger'

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

// A workflow: each package goes through a chain of three, all of them side by side, and what they found makes one report.

const read = app.task('read', async (folder) => {
  const { name, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  return { folder, name, licence: license ?? null }
})

const measure = app.task('measure', async ({ folder, ...found }) => {
  let bytes = 0
  for await (const file of filesOf(folder)) bytes += (await stat(file)).size
  return { ...found, bytes }
})

const classify = app.task('classify', ({ bytes, ...found }) => {
  const size = bytes < 50_000 ? 'small' : bytes < 1_000_000 ? 'medium' : 'large'
  return { ...found, size }
})

/** How many packages there are of each size; also written to a file. */
const report = app.task('report', async (packages, path) => {
  const sizes = {}
  for (const { size } of packages) sizes[size] = (sizes[size] ?? 0) + 1
  await writeFile(path, JSON.stringify({ sizes, packages }, null, 2))
  return sizes
})

export const survey = (folders, path) =>
  chord(
    folders.map((folder) => chain(read.s(folder), measure.s(), classify.s())),
    report.s(path),
  )
