// Node's own modules are asked for one by one: an `import` of node:fs would run every lazy part of it.
const { readFileSync, renameSync, writeFileSync } = process.getBuiltinModule('node:fs')
const module = process.getBuiltinModule('node:module')
const { dirname, join } = process.getBuiltinModule('node:path')
const { fileURLToPath } = process.getBuiltinModule('node:url')
const { Script } = process.getBuiltinModule('node:vm')

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const bundle = join(root, 'dist', 'cli.cjs')

/** Runs one command line as this process. */
export function start(argv) {
  return load(argv[0] ?? '').run(argv, root, process.env)
}

function load(command) {
  if (!module.enableCompileCache) return loadWithCodeCache(command)
  module.enableCompileCache()
  return module.createRequire(bundle)(bundle)
}

/**
 * Loads the bundle with what V8 compiled of it in earlier runs instead of compiling it again. Node does this by itself
 * from version 22. Only functions that were called are in the file, so it is made anew by the first run of each command;
 * where it cannot be written the program is slower and nothing else.
 */
function loadWithCodeCache(command) {
  const source = readFileSync(bundle, 'latin1') // it is ASCII, and decoding it as UTF-8 would cost milliseconds
  const file = `${bundle}.${process.version}-${process.arch}-${source.length}.cache`
  const { known, cachedData } = readCache(file)
  const script = new Script(module.wrap(source), { filename: bundle, cachedData })
  const loaded = { exports: {}, importModule: (specifier) => import(specifier) }
  script.runInThisContext()(loaded.exports, module.createRequire(bundle), loaded, bundle, dirname(bundle))
  if (script.cachedDataRejected || !known.includes(command)) {
    writeAtExit(file, script, script.cachedDataRejected ? [command] : [...known, command])
  }
  return loaded.exports
}

/** The first line names the commands, the rest is V8's. */
function readCache(file) {
  try {
    const content = readFileSync(file)
    const end = content.indexOf('\n')
    return { known: content.toString('latin1', 0, end).split(' '), cachedData: content.subarray(end + 1) }
  } catch {
    return { known: [], cachedData: undefined }
  }
}

function writeAtExit(file, script, known) {
  process.once('exit', (code) => {
    if (code > 1) return // no command of ours, or one that did not get far
    try {
      const part = `${file}.${process.pid}`
      writeFileSync(part, Buffer.concat([Buffer.from(`${known.join(' ')}\n`), script.createCachedData()]))
      renameSync(part, file)
    } catch {
      // a folder this user may not write to
    }
  })
}
