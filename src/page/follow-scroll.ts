/** Closer to the end than this is at the end. */
const nearPx = 48;

/**
 * Keeps a growing list scrolled to its end as long as the reader is there. Moving up lets go; coming back to the end, or the
 * button, takes hold again.
 */
export class FollowScroll {
  readonly #scroller: HTMLElement;
  readonly #button: HTMLButtonElement;
  #following = true;
  #top = 0;

  constructor(scroller: HTMLElement, content: HTMLElement, button: HTMLButtonElement) {
    this.#scroller = scroller;
    this.#button = button;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    button.addEventListener("click", () => this.toEnd());
    const resized = new ResizeObserver(() => this.#keepUp());
    resized.observe(content);
    resized.observe(scroller);
  }

  toEnd(): void {
    this.#follow(true);
    this.#keepUp();
  }

  #scrolled(): void {
    const { scrollTop } = this.#scroller;
    // Growth alone also leaves a distance to the end; only going up says that the reader wants to stay.
    const wentUp = scrollTop < this.#top - 1;
    this.#top = scrollTop;
    if (this.#distance() <= nearPx) this.#follow(true);
    else if (wentUp) this.#follow(false);
  }

  #keepUp(): void {
    if (!this.#following) return;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
  }

  #follow(following: boolean): void {
    this.#following = following;
    this.#button.hidden = following;
  }

  #distance(): number {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight;
  }
}
