// Fails a build of Netlify's in whose bundle a function is missing, and says which: Netlify itself leaves out
// what it does not recognise as a function, and its build succeeds.
//
// `funil package --for netlify` writes the list of functions beside their folder.

const { existsSync, readFileSync } = require("node:fs");
const { dirname, join } = require("node:path");

/** What is wrong with the bundled functions, one sentence each. */
function problems(expected, bundled) {
  const found = new Map(bundled.map((one) => [one.name, one]));
  const wrong = [];
  for (const name of expected) {
    const one = found.get(name);
    if (one === undefined) {
      wrong.push(`Netlify left out ${name}: build it again with \`funil package --for netlify\`.`);
    } else if (one.runtime !== "rs") {
      wrong.push(`Netlify takes ${name} for ${one.runtime}, not for a binary of Rust's.`);
    } else if (name === "sweep" && one.schedule === undefined) {
      wrong.push("sweep has no schedule: add it to netlify.toml, or what waits is never delivered.");
    }
  }
  return wrong;
}

module.exports = {
  onPostBuild({ constants, utils }) {
    const list = join(dirname(constants.FUNCTIONS_SRC), "functions.txt");
    const manifest = join(constants.FUNCTIONS_DIST, "manifest.json");
    for (const path of [list, manifest]) {
      if (!existsSync(path)) {
        return utils.build.failBuild(`There is no ${path}: run \`funil package --for netlify\`, then build.`);
      }
    }
    const expected = readFileSync(list, "utf8").split("\n").filter((name) => name !== "");
    const wrong = problems(expected, JSON.parse(readFileSync(manifest, "utf8")).functions);
    if (wrong.length > 0) {
      return utils.build.failBuild(wrong.join("\n"));
    }
    console.log(`All ${expected.length} functions are in the bundle.`);
  },
};
