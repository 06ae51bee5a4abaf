#!/usr/bin/env node
import { start } from './start.js'

await start(['find-stale-tasks', ...process.argv.slice(2)])
