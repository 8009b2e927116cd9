/** The element that index.html declares under this id; the page cannot run without it. */
export function byId<Kind extends Element>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`index.html has no ${kind.name} with the id ${id}`);
  return found;
}

export interface Attributes {
  readonly class?: string;
  readonly text?: string;
  readonly hidden?: boolean;
  /** Any other attribute, as written in HTML. */
  readonly [name: string]: string | boolean | undefined;
}

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  { text, hidden, ...attributes }: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (typeof value === "string") made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  if (hidden === true) made.hidden = true;
  made.append(...children);
  return made;
}

/** A drawing of the sprite at the end of index.html. */
export function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

export function iconButton(name: string, label: string, onClick: () => void): HTMLButtonElement {
  const button = element("button", { class: "quiet", type: "button" }, icon(name), element("span", { text: label }));
  button.addEventListener("click", onClick);
  return button;
}

/** Sets text only when it differs, so that nothing is laid out or read aloud again. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
