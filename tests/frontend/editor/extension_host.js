// Loads the extension as VS Code does, with stand-ins for VS Code and its client, and prints what it does.
"use strict";

const Module = require("module");
const [, , extension, command, fails] = process.argv;
const done = { started: [], stopped: 0, commands: [], complaints: [] };

class LanguageClient {
  constructor(id, name, server, options) {
    this.made = { id, server, options };
  }
  async start() {
    if (fails) throw new Error("spawn ENOENT");
    done.started.push(this.made);
  }
  async stop() {
    done.stopped += 1;
  }
}

const handlers = {};
const vscode = {
  workspace: { getConfiguration: (part) => ({ get: (name) => settings[`${part}.${name}`] }) },
  commands: {
    registerCommand: (name, handler) => {
      done.commands.push(name);
      handlers[name] = handler;
      return { dispose() {} };
    },
  },
  window: { showErrorMessage: (text) => done.complaints.push(text) },
};
const settings = { "causaldsl.command": JSON.parse(command) };
const stand_ins = { vscode, "vscode-languageclient/node": { LanguageClient } };
const load = Module._load;
Module._load = (name, ...rest) => stand_ins[name] ?? load(name, ...rest);

(async () => {
  const { activate, deactivate } = require(extension);
  await activate({ subscriptions: [] });
  await handlers["causaldsl.restart"]();
  await deactivate();
  console.log(JSON.stringify(done));
})();
