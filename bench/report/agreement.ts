import { median } from "../client/statistics.ts";
import type { RoundResult } from "../rounds.ts";
import { percent } from "./format.ts";

/** Whether the two servers did the same work: a fast wrong answer is no achievement. */
export interface Agreement {
  /** Requests that both servers got alike and answered in full, and how many of these answers have the same text. */
  readonly answers: number;
  readonly sameText: number;
  /** The part of the shorter answer of a pair, from its beginning, that both have: the median of all pairs. */
  readonly sameBeginning: number;
  /** Requests whose prompt the servers count differently. */
  readonly otherPromptTokens: readonly string[];
}

/**
 * Compares the answers to the same requests. Greedy answers of one model are the same until two tokens are almost equally
 * likely: then rounding decides, which depends on what else is in a batch and on how llama.cpp was compiled.
 */
export function compareAnswers(results: readonly RoundResult[]): Agreement {
  const pairs = results.flatMap((result) => {
    if (result.server !== "llamapod") return [];
    const peer = results.find(
      ({ server, scenario, round }) => server !== result.server && scenario === result.scenario && round === result.round,
    );
    return result.measurement.streams.flatMap((ours) => {
      const theirs = peer?.measurement.streams.find(({ requestSha256 }) => requestSha256 === ours.requestSha256);
      return theirs?.usage && ours.usage ? [{ ours, theirs, name: `${result.scenario}, ${ours.label}` }] : [];
    });
  });
  return {
    answers: pairs.length,
    sameText: pairs.filter(({ ours, theirs }) => ours.text === theirs.text).length,
    sameBeginning: median(pairs.map(({ ours, theirs }) => commonBeginning(ours.text, theirs.text))),
    otherPromptTokens: pairs
      .filter(({ ours, theirs }) => ours.usage?.prompt_tokens !== theirs.usage?.prompt_tokens)
      .map(({ name }) => name),
  };
}

export function describeAgreement({ answers, sameText, sameBeginning }: Agreement): string {
  return (
    `Requests that both got alike and answered in full: ${answers}; the same text to the last character: ${sameText}; ` +
    `the median answer is the same for its first ${percent(sameBeginning)}.`
  );
}

function commonBeginning(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  let same = 0;
  while (same < length && a[same] === b[same]) same++;
  return same / length;
}
