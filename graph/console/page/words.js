// Numbers in words.
export const count = (n, one, many) => `${n} ${String(n) === '1' ? one : many}`;

export function age(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

// money is a decimal as it came, with its thousands apart: it is never a float here.
export function money({ amount, currency, units }) {
  const [whole, part] = amount.split('.');
  const sum = whole.replace(/\B(?=(\d{3})+$)/g, ' ') + (part ? `.${part}` : '');
  return [currency && `${currency} ${sum}`, units !== '0' && count(units, 'unit', 'units')].filter(Boolean).join(', ');
}
