#!/usr/bin/env node
// The program from its sources, without a build.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { register } from 'tsx/esm/api'
import { describeCommands } from '../scripts/manifest.mjs'

register()
const { commands } = await import('../src/commands/index.ts')
const { runProgram } = await import('../src/lib/cli/program.ts')

const root = fileURLToPath(new URL('..', import.meta.url))
const pjson = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
const manifest = await describeCommands(root, structuredClone(pjson), commands)
await runProgram(process.argv.slice(2), { root, pjson, manifest, commands }, process.env)
