#!/usr/bin/env node
import { start } from './start.js'

await start(['send-scheduled', ...process.argv.slice(2)])
