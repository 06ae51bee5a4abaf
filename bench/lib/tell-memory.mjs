// Preloaded into a program that is measured: tells on stderr, as its last line, the most memory it ever had.
process.once('exit', () => process.stderr.write(`\n${process.resourceUsage().maxRSS * 1024}`))
