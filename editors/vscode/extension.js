// Starts `causaldsl lsp` for .cpatch programs, and stops it with the window.
"use strict";

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const [command, ...first] = vscode.workspace.getConfiguration("causaldsl").get("command");
  const server = { command, args: [...first, "lsp"] };
  const options = { documentSelector: [{ language: "cpatch" }] };
  client = new LanguageClient("causaldsl", "causaldsl", server, options);
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    vscode.window.showErrorMessage(
      `causaldsl can't be started as \`${[command, ...first].join(" ")}\`. Install it with ` +
        'pip install "causaldsl[editor]", or set `causaldsl.command` to where it is. ' +
        `(${error.message})`
    );
  }
}

async function stop() {
  const running = client;
  client = undefined;
  if (running !== undefined) {
    await running.stop();
  }
}

async function activate(context) {
  const restart = async () => {
    await stop();
    await start();
  };
  context.subscriptions.push(vscode.commands.registerCommand("causaldsl.restart", restart));
  await start();
}

module.exports = { activate, deactivate: stop };
