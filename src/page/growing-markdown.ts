import type { Token, Tokens } from "marked";
import { codeBlock, type CodeBlock } from "./code-block.ts";
import { element } from "./dom.ts";
import { parseBlocks, renderBlock } from "./markdown.ts";

/**
 * Blocks at the end that later text can still change: the last one, and the one before it, which a few more characters may turn
 * out to continue (the next number of an ordered list, read when only its digit is there, is a paragraph).
 */
const openBlocks = 2;

interface Shown {
  raw: string;
  readonly holder: HTMLElement;
  readonly code: { readonly lang: string | undefined; readonly block: CodeBlock } | undefined;
}

/** Markdown that grows at its end. An update costs what its open blocks cost, however long the text before them is. */
export class GrowingMarkdown {
  readonly element = element("div", { class: "markdown" });
  #shown: Shown[] = [];
  /** How much of the text, and how many blocks, no later text can change. */
  #settledLength = 0;
  #settledBlocks = 0;
  #length = 0;

  /** Shows the text so far. */
  grow(source: string): void {
    const text = normalised(source);
    if (text.length < this.#length) this.#unsettle();
    this.#length = text.length;
    const { blocks } = parseBlocks(text.slice(this.#settledLength));
    this.#show(blocks);
    this.#settle(blocks);
  }

  /** Shows the whole text, with what only the whole can tell: references whose definition came later. */
  finish(source: string): void {
    this.#unsettle();
    const { blocks, hasDefinitions } = parseBlocks(normalised(source));
    if (hasDefinitions) this.#clear();
    this.#show(blocks);
  }

  #unsettle(): void {
    this.#settledLength = 0;
    this.#settledBlocks = 0;
  }

  #settle(blocks: readonly Token[]): void {
    const solid = blocks.flatMap(({ type }, index) => (type === "space" ? [] : [index]));
    const settled = solid.at(-openBlocks) ?? 0;
    this.#settledLength += blocks.slice(0, settled).reduce((length, { raw }) => length + raw.length, 0);
    this.#settledBlocks += settled;
  }

  #show(blocks: readonly Token[]): void {
    blocks.forEach((block, index) => this.#showAt(this.#settledBlocks + index, block));
    for (const { holder } of this.#shown.splice(this.#settledBlocks + blocks.length)) holder.remove();
  }

  #showAt(index: number, block: Token): void {
    const before = this.#shown[index];
    if (before?.raw === block.raw) return;
    if (before?.code !== undefined && block.type === "code" && before.code.lang === (block as Tokens.Code).lang) {
      before.code.block.update((block as Tokens.Code).text);
      before.raw = block.raw;
      return;
    }
    const shown = this.#render(block);
    if (before === undefined) this.element.append(shown.holder);
    else before.holder.replaceWith(shown.holder);
    this.#shown[index] = shown;
  }

  #render(block: Token): Shown {
    const { raw } = block;
    if (block.type === "code") {
      const { lang, text } = block as Tokens.Code;
      const made = codeBlock({ lang, text });
      return { raw, holder: element("div", {}, made.element), code: { lang, block: made } };
    }
    return { raw, holder: element("div", {}, renderBlock(block)), code: undefined };
  }

  #clear(): void {
    this.#shown = [];
    this.element.replaceChildren();
  }
}

/** As the parser does it, so that the lengths of its blocks are lengths in the text. */
function normalised(source: string): string {
  return source.includes("\r") ? source.replace(/\r\n|\r/g, "\n") : source;
}
