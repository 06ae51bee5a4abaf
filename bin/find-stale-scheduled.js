#!/usr/bin/env node
import { start } from './start.js'

await start(['find-stale-scheduled', ...process.argv.slice(2)])
