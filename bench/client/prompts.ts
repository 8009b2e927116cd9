/** Prompts made from a seed: the same for both servers, new in each round, and none the beginning of another. */

const words = (
  "the of and to in is you that it he was for on are with as his they be at one have this from or had by hot but some what " +
  "there we can out other were all your when up use word how said an each she which do their time if will way about many then " +
  "them would write like so these her long make thing see him two has look more day could go come did my sound no most number " +
  "who over know water than call first people may down side been now find any new work part take get place made live where " +
  "after back little only round man year came show every good me give our under name very through just form much great think " +
  "say help low line before turn cause same mean differ move right boy old too does tell sentence set three want air well also " +
  "play small end put home read hand port large spell add even land here must big high such follow act why ask men change went " +
  "light kind off need house picture try us again animal point mother world near build self earth father head stand own page"
).split(" ");

/** How many tokens a word of these takes, its share of full stops included: they are single tokens of most vocabularies. */
const tokensPerWord = 1.1;

/** Text of about so many tokens; the server's `usage` tells how many exactly. */
export function makePrompt(seed: string, tokens: number): string {
  const random = randomOf(seed);
  const sentences: string[] = [];
  let left = Math.max(1, Math.round(tokens / tokensPerWord));
  while (left > 0) {
    const length = Math.min(left, 7 + Math.floor(random() * 8));
    const sentence = Array.from({ length }, () => words[Math.floor(random() * words.length)]).join(" ");
    sentences.push(sentence.charAt(0).toUpperCase() + sentence.slice(1) + ".");
    left -= length;
  }
  return sentences.join(" ");
}

/** A number from `least` to `most`, both included, that the seed decides. */
export function numberBetween(seed: string, least: number, most: number): number {
  return least + Math.floor(randomOf(seed)() * (most - least + 1));
}

/** Room for a prompt of about so many tokens, whatever the vocabulary makes of it. */
export function roomFor(promptTokens: number): number {
  return Math.ceil(promptTokens * 1.4) + 32;
}

/** FNV-1a of the seed, then mulberry32. */
function randomOf(seed: string): () => number {
  let state = 0x811c9dc5;
  for (const character of seed) state = Math.imul(state ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
