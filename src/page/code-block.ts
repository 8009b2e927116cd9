import { copyText } from "./browser.ts";
import { element, icon } from "./dom.ts";

export interface CodeBlock {
  readonly element: HTMLElement;
  /** Shows a text that usually is the earlier one with something after it. */
  update(text: string): void;
}

export function codeBlock({ lang = "", text }: { lang?: string | undefined; text: string }): CodeBlock {
  const code = document.createTextNode(text);
  const copy = copyButton("Copy code", () => code.data);
  const name = lang.split(/\s/, 1)[0] ?? "";
  const head = element("div", { class: "code-head" }, element("span", { text: name }), copy);
  const scroller = element("pre", { tabindex: "0", "aria-label": name === "" ? "Code" : `Code, ${name}` });
  scroller.append(element("code", {}, code));
  return {
    element: element("div", { class: "code" }, head, scroller),
    update: (next) => {
      if (next.length > code.length && next.startsWith(code.data)) code.appendData(next.slice(code.length));
      else if (next !== code.data) code.data = next;
    },
  };
}

export function copyButton(label: string, text: () => string): HTMLButtonElement {
  const caption = element("span", { text: "Copy" });
  const button = element("button", { class: "quiet", type: "button", "aria-label": label }, icon("copy"), caption);
  button.addEventListener("click", () => {
    void copyText(text()).then(
      () => show("Copied"),
      () => show("Not copied"),
    );
  });
  const show = (outcome: string) => {
    caption.textContent = outcome;
    button.setAttribute("aria-label", outcome);
    setTimeout(() => {
      caption.textContent = "Copy";
      button.setAttribute("aria-label", label);
    }, 1_500);
  };
  return button;
}
