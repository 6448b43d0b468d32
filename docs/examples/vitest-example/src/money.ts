/** An amount of money, in the smallest unit of its currency. */
export interface Money {
  readonly units: number;
  readonly currency: string;
}

export function money(units: number, currency = 'EUR'): Money {
  if (!Number.isInteger(units)) throw new RangeError(`not a whole number of units: ${units}`);
  return { units, currency };
}

export function add(a: Money, b: Money): Money {
  if (a.currency !== b.currency) throw new TypeError(`cannot add ${b.currency} to ${a.currency}`);
  return money(a.units + b.units, a.currency);
}

/** Splits an amount into parts that differ by at most one unit. */
export function split(amount: Money, parts: number): Money[] {
  const share = Math.floor(amount.units / parts);
  const rest = amount.units - share * parts;
  return Array.from({ length: parts }, (_, index) => money(share + (index < rest ? 1 : 0), amount.currency));
}
