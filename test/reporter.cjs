const { reporters } = require('mocha')

/** mocha's usual report, and as its last line the totals that programs read: `12 passed, 0 failed, 1 skipped`. */
module.exports = class extends reporters.Spec {
  epilogue() {
    super.epilogue()
    const { passes, failures, pending } = this.stats
    process.stdout.write(`${passes} passed, ${failures} failed, ${pending} skipped\n`)
  }
}
