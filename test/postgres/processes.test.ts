import { suitesOnPostgres } from '../helpers/databases.js'

await suitesOnPostgres(['crash/many-processes', 'crash/killed-worker'])
