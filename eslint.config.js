import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

const ownFolders = ["cli", "client", "health", "logging", "models", "page", "protocol", "server", "stream"];

/** Imports point down: main -> server -> stream -> models -> protocol; health is told by all and asks none. */
function mayImport(folder, allowed, adapters) {
  const forbidden = ownFolders.filter((name) => name !== folder && !allowed.includes(name));
  const patterns = [
    {
      regex: `^(?:\\.\\./)+(?:${forbidden.join("|")})(?:/|$)`,
      message: `${folder}/ may import ${["itself", ...allowed].join(", ")} only.`,
    },
    { regex: "^(?:\\.\\./)+(?:main|service)\\.ts$", message: "Imports point down." },
  ];
  return restrictImports(`src/${folder}`, patterns, adapters);
}

const engine = {
  regex: "^(?:node-llama-cpp|@node-llama-cpp/.*|@huggingface/jinja)$",
  message: "Only models/runner/ touches the engine and runs templates: what breaks there must not break the server.",
};
const typesOfProtocol = {
  regex: "^(?:\\.\\./)+protocol/",
  allowTypeImports: true,
  message: "What runs in a browser takes types only from protocol: its values would bring their libraries along.",
};
const telemetry = { regex: "^@opentelemetry/", message: "Only health/tracing/ knows OpenTelemetry." };
const web = { regex: "^(?:express|ws)$", message: "Only server/ knows the web framework." };

function restrictImports(folder, patterns, adapters = [engine, web, telemetry]) {
  return {
    files: [`${folder}/**/*.ts`],
    rules: { "@typescript-eslint/no-restricted-imports": ["error", { patterns: [...patterns, ...adapters] }] },
  };
}

const patternsOf = (config) => config.rules["@typescript-eslint/no-restricted-imports"][1].patterns;

export default defineConfig(
  globalIgnores(["dist/", "node_modules/"]),
  js.configs.recommended,
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // `() => emitter.emit(...)` reads better than the same in braces.
      "@typescript-eslint/no-confusing-void-expression": [
        "error",
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      // `while (true)` and `for (;;)` are how a loop that owns some state is written.
      "@typescript-eslint/no-unnecessary-condition": ["error", { allowConstantLoopConditions: "only-allowed-literals" }],
      "@typescript-eslint/consistent-type-imports": "error",
      // The compiler's noPropertyAccessFromIndexSignature asks for the brackets.
      "@typescript-eslint/dot-notation": "off",
      // It takes `this.#frame ??= ...` for no use; the compiler's noUnusedLocals knows better.
      "no-unused-private-class-members": "off",
      eqeqeq: "error",
    },
  },
  {
    files: ["**/*.js", "**/*.mjs"],
    languageOptions: { globals: { console: "readonly", process: "readonly", URL: "readonly", setTimeout: "readonly" } },
  },
  {
    // node:test's own functions return promises that nobody has to wait for.
    files: ["test/**/*.ts"],
    rules: {
      "@typescript-eslint/no-floating-promises": [
        "error",
        {
          allowForKnownSafeCalls: [
            { from: "package", package: "node:test", name: ["after", "before", "describe", "it", "suite", "test"] },
          ],
        },
      ],
    },
  },
  {
    // A client ignores messages of types that it does not know.
    files: ["src/page/**/*.ts", "src/client/**/*.ts"],
    rules: { "@typescript-eslint/switch-exhaustiveness-check": "off" },
  },
  restrictImports("src", []),
  mayImport("protocol", []),
  mayImport("health", ["protocol"], [engine, web]),
  mayImport("logging", ["protocol"]),
  mayImport("models", ["protocol", "health"]),
  restrictImports(
    "src/models/runner",
    [
      {
        regex: "^\\.\\./(?!gguf/|(?:\\.\\./){1,2}protocol/)",
        message: "models/runner/ is another process: it may import protocol and models/gguf only.",
      },
    ],
    [web],
  ),
  mayImport("stream", ["models", "protocol", "health"]),
  restrictImports(
    "src/server",
    patternsOf(mayImport("server", ["stream", "models", "protocol", "health", "logging"])).slice(0, 2),
    [engine],
  ),
  restrictImports(
    "src/cli",
    [
      {
        regex: "^\\.\\./(?:health|page|server/(?!auth/)|stream)/",
        message: "cli/ may import itself, client, models, server/auth and protocol only.",
      },
    ],
    [engine],
  ),
  restrictImports("src/client", [
    typesOfProtocol,
    { regex: "^(?!\\./|\\.\\./protocol/)", message: "client/ depends on nothing." },
  ]),
  restrictImports("src/page", [
    typesOfProtocol,
    { regex: "^(?:\\.\\./)+(?!protocol/)", message: "page/ may import itself, llamapod/client, and types from protocol." },
  ]),
);
