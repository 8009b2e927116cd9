/** The name of a part of a model that is split over several files, as llama.cpp gives it: `name-00001-of-00003.gguf`. */
export interface SplitName {
  /** `name`, with the folder where there is one. */
  readonly stem: string;
  /** From 1 on. */
  readonly number: number;
  readonly count: number;
}

const pattern = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;

/** @returns undefined where it is no such name */
export function splitName(fileName: string): SplitName | undefined {
  const [, stem, number, count] = pattern.exec(fileName) ?? [];
  return stem === undefined ? undefined : { stem, number: Number(number), count: Number(count) };
}

export function partName({ stem, number, count }: SplitName): string {
  return `${stem}${partEnding(number, count)}`;
}

export function partEnding(number: number, count: number): string {
  return `-${fiveDigits(number)}-of-${fiveDigits(count)}.gguf`;
}

/** Of a file: the same for all parts of one model, and for nothing else. */
export function modelNameOf(fileName: string): string {
  const split = splitName(fileName);
  return split === undefined ? fileName : `${split.stem} in ${split.count} parts`;
}

function fiveDigits(value: number): string {
  return String(value).padStart(5, "0");
}
