"""What an editor asks of a program that is being typed; `causaldsl lsp` answers it."""
