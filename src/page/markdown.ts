import purifier from "dompurify";
import { Marked, type Token, type Tokens } from "marked";
import { codeBlock } from "./code-block.ts";
import { element } from "./dom.ts";

/**
 * Markdown to DOM. HTML in an answer is shown, not run: tags that only format pass, all others become text. The purifier behind
 * it allows nothing but formatting, so that a mistake in the first line is not a hole.
 */

const formattingTag = /^<\/?(?:b|br|del|em|i|kbd|mark|s|strong|sub|sup|u)\s*\/?>$/i;

const policy = {
  RETURN_DOM_FRAGMENT: true as const,
  ALLOWED_TAGS: (
    "a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i kbd li mark ol p pre s strong sub sup " +
    "table tbody td th thead tr u ul #text"
  ).split(" "),
  ALLOWED_ATTR: ["href", "title", "start", "align", "class"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
};

purifier.addHook("uponSanitizeAttribute", (_node, attribute) => {
  if (attribute.attrName === "class" && !/^language-[\w+#.-]{1,32}$/.test(attribute.attrValue)) attribute.keepAttr = false;
});

purifier.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("rel", "noopener noreferrer");
  node.setAttribute("target", "_blank");
});

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: (token) => {
      if (formattingTag.test(token.text.trim())) return token.text;
      const shown = escapeHtml(token.text.trimEnd()).replaceAll("\n", "<br>");
      return "block" in token && token.block ? `<p>${shown}</p>` : shown;
    },
    // A picture from elsewhere would tell that server who reads what; its address is enough.
    image: ({ href, text }) => `<a href="${escapeHtml(href)}">${escapeHtml(text === "" ? href : text)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    // The page has the first two levels for itself.
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
  },
});

/** Top-level blocks. Their `raw` texts joined are the source. */
export function parseBlocks(source: string): { blocks: Token[]; hasDefinitions: boolean } {
  try {
    const tokens = marked.lexer(source);
    return { blocks: [...tokens], hasDefinitions: Object.keys(tokens.links).length > 0 };
  } catch {
    return { blocks: [{ type: "text", raw: source, text: source } satisfies Tokens.Text], hasDefinitions: false };
  }
}

/** What a block looks like, safe to insert. */
export function renderBlock(block: Token): Node {
  if (block.type === "code") return codeBlock(block as Tokens.Code).element;
  return decorated(purifier.sanitize(marked.parser([block]), policy));
}

/** A whole text at once. */
export function renderMarkdown(source: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  fragment.append(...parseBlocks(source).blocks.map(renderBlock));
  return fragment;
}

function decorated(fragment: DocumentFragment): DocumentFragment {
  for (const pre of fragment.querySelectorAll("pre")) {
    const lang = pre.querySelector("code")?.className.replace("language-", "") ?? "";
    pre.replaceWith(codeBlock({ lang, text: pre.textContent.replace(/\n$/, "") }).element);
  }
  for (const table of fragment.querySelectorAll("table")) {
    const scroller = element("div", { class: "table-scroller", role: "region", tabindex: "0", "aria-label": "Table" });
    table.replaceWith(scroller);
    scroller.append(table);
  }
  return fragment;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
