import { readFileSync } from 'node:fs'
import { relative, sep } from 'node:path'
import { build } from 'esbuild'

/** Native code, packages that a user may do without, compilers that oclif would use if it found them, and the drivers that knex asks for by name. */
const EXTERNAL = [
  'amqplib',
  'better-sqlite3',
  'ioredis',
  'mariadb',
  'mysql',
  'mysql2',
  'oracledb',
  'pg',
  'pg-native',
  'pg-query-stream',
  'sqlite3',
  'tedious',
  'ts-node',
  'tsx',
  'typescript',
]

// Code that was compiled from a code cache may not import by itself, so the loader in bin/ hands in what does it;
// Node's own loader does not, and has no need to.
const BANNER = 'const importModule = module.importModule ?? ((specifier) => import(specifier));'

/** `contents`, a module of the folder `dist`, and all it needs as the text of one CommonJS file in that folder. */
export async function bundle(contents, dist) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: dist },
    write: false,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    logLevel: 'warning',
    external: EXTERNAL,
    plugins: [ownUrls(dist)],
  })
  const [{ text }] = outputFiles
  return `${BANNER}\n${escapeNonAscii(text.replace(/\bimport\(/g, 'importModule('))}`
}

/** The loader reads the bundle byte by byte. esbuild escapes what stands in strings, but not comments and patterns. */
const escapeNonAscii = (text) => text.replace(/\P{ASCII}/gu, (character) => character.split('').map(escapeUnit).join(''))

const escapeUnit = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`

/** In a bundle `import.meta.url` is empty; so each of our files is told the URL it has outside. */
const ownUrls = (dist) => ({
  name: 'own-urls',
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, ({ path }) => {
      if (!path.startsWith(dist + sep)) return
      const place = JSON.stringify(relative(dist, path).split(sep).join('/'))
      const url = `new URL(${place}, require('node:url').pathToFileURL(__filename)).href`
      return { contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', url), loader: 'js' }
    })
  },
})
