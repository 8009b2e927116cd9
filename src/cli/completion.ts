import { Argument, Command } from "commander";

const shells = ["bash", "zsh", "fish"] as const;

/** Commands whose first argument is a model. */
const takesModel = new Set(["pull", "switch", "run", "show", "rm", "bench"]);

/** @param commands those that are completed; read when the script is printed */
export function completionCommand(commands: () => readonly Command[]): Command {
  return new Command("completion")
    .description("print a script that completes commands, flags and models in a shell")
    .addArgument(new Argument("<shell>", "the shell").choices(shells))
    .addHelpText(
      "after",
      `
Examples:
  llamapod completion bash > ~/.local/share/bash-completion/completions/llamapod
  llamapod completion zsh > "\${fpath[1]}/_llamapod"
  llamapod completion fish > ~/.config/fish/completions/llamapod.fish`,
    )
    .action((shell: (typeof shells)[number]) => {
      const described = commands().map((command) => ({
        name: command.name(),
        description: command.description(),
        flags: command.options.flatMap(({ long }) => (long === undefined ? [] : [long])),
      }));
      process.stdout.write({ bash, zsh, fish }[shell](described));
    });
}

type Described = readonly { readonly name: string; readonly description: string; readonly flags: readonly string[] }[];

/** What a shell runs to learn the models' ids; slow or broken, it completes nothing. */
const listIds = `llamapod list --json 2>/dev/null | sed -n 's/^      "id": "\\(.*\\)",$/\\1/p'`;

function bash(commands: Described): string {
  const flags = commands.map(({ name, flags }) => `    ${name}) words="${[...flags, "--help"].join(" ")}" ;;`).join("\n");
  return `# bash completion of llamapod
_llamapod() {
  local word="\${COMP_WORDS[COMP_CWORD]}" command="\${COMP_WORDS[1]}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${[...commands.map(({ name }) => name), "--help", "--version"].join(" ")}" -- "$word"))
    return
  fi
  case "$command" in
    completion) words="${shells.join(" ")}" ;;
${flags}
  esac
  if [[ "$word" != -* ]] && [ "$COMP_CWORD" -eq 2 ]; then
    case "$command" in
      ${[...takesModel].join("|")}) words="$(${listIds})" ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _llamapod llamapod
`;
}

function zsh(commands: Described): string {
  const names = commands.map(({ name, description }) => `    '${name}:${quoted(description)}'`).join("\n");
  const flags = commands.map(({ name, flags }) => `    ${name}) compadd -- ${[...flags, "--help"].join(" ")} ;;`).join("\n");
  return `#compdef llamapod
_llamapod() {
  local -a commands
  commands=(
${names}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  if (( CURRENT == 3 )) && [[ \${words[3]} != -* ]]; then
    case \${words[2]} in
      ${[...takesModel].join("|")}) compadd -- \${(f)"$(${listIds})"} ; [[ \${words[2]} == pull ]] && _files -g '*.gguf' ; return ;;
      completion) compadd -- ${shells.join(" ")} ; return ;;
    esac
  fi
  case \${words[2]} in
${flags}
  esac
}
# Loaded from fpath this is the function itself; sourced, it has to be registered.
if [[ $funcstack[1] == _llamapod ]]; then _llamapod "$@"; else compdef _llamapod llamapod; fi
`;
}

function fish(commands: Described): string {
  const lines = commands.flatMap(({ name, description, flags }) => [
    `complete -c llamapod -n __fish_use_subcommand -f -a ${name} -d '${quoted(description)}'`,
    ...flags.map((flag) => `complete -c llamapod -n '__fish_seen_subcommand_from ${name}' -l ${flag.slice(2)}`),
  ]);
  const ids = `-a "(${listIds.replaceAll("$", "\\$").replaceAll('"', '\\"')})"`;
  // A file can be pulled, too; elsewhere those of the folder would hide the models.
  const models = [...takesModel].map((name) => {
    return `complete -c llamapod -n '__fish_seen_subcommand_from ${name}' ${name === "pull" ? "" : "-f "}${ids}`;
  });
  return `# fish completion of llamapod\n${[...lines, ...models].join("\n")}\ncomplete -c llamapod -n '__fish_seen_subcommand_from completion' -f -a '${shells.join(" ")}'\n`;
}

function quoted(text: string): string {
  return text.replaceAll("'", "").replaceAll(":", " ");
}
