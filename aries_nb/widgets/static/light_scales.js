// Times on the clock of a zone, paths and ranges of points; for light.js.

const SECOND = 1000;
const DAY = 86400 * SECOND;
const STEPS_OF_TIME = [1, 2, 5, 10, 20, 50, 100, 200, 500,
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200].map((s) => s * SECOND),
  ...[1, 2, 7, 14, 28, 91, 182, 364].map((days) => days * DAY)];
const STEPS_OF_NUMBERS = [-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].flatMap((power) =>
  [1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// Number of values in the ascending `list` that are not above `value`.
function countUpTo(list, value) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Multiples of `step` on the clock of `zone` between two times.
function timesOnClock(zone, from, to, step) {
  const times = [];
  const ahead = offsetOf(zone, from);
  for (let clock = Math.ceil((from + ahead) / step) * step; times.length < 1000; clock += step) {
    const at = clock - offsetOf(zone, clock - ahead);
    if (at > to) break;
    if (at >= from && (!times.length || at > times[times.length - 1])) times.push(at);
  }
  return times;
}

const two = (number) => String(number).padStart(2, "0");
const dayText = (date) => `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
function clockText(zone, ms, step) {
  const date = new Date(ms + offsetOf(zone, ms));
  const isMidnight = (date.getTime() % DAY) === 0;
  if (step >= DAY || (isMidnight && step >= SECOND)) return dayText(date);
  const minutes = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
  if (step >= 60 * SECOND) return minutes;
  const seconds = `${minutes}:${two(date.getUTCSeconds())}`;
  return step >= SECOND ? seconds : `${seconds}.${String(date.getUTCMilliseconds()).padStart(3, "0")}`;
}

// Text on a colour is white where that has the better contrast (WCAG's relative luminance).
function textOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.18 ? "#fff" : "#16181d";
}

// A line over its own times, broken at NaN. Where a column of pixels has many points, its lowest and highest are enough.
function tracePath(x, y, [from, to], toX, toY, isStep) {
  const path = new Path2D();
  const end = Math.min(x.length, countUpTo(x, to) + 1);
  let isDown = false;
  let column = NaN;
  let low = 0;
  let high = 0;
  let last = 0;
  let count = 0;
  function finish() {
    if (count > 1) {
      path.lineTo(column, low);
      path.lineTo(column, high);
      path.lineTo(column, last);
    }
    count = 0;
  }
  for (let at = Math.max(0, countUpTo(x, from) - 1); at < end; at++) {
    if (Number.isNaN(y[at])) {
      finish();
      if (isDown) path.lineTo(column + 1, last); // one pixel, so that a point alone is seen; not into the gap
      isDown = false;
      column = NaN;
      continue;
    }
    const px = Math.round(toX(x[at]));
    const py = toY(y[at]);
    if (px === column) {
      if (py < low) low = py;
      if (py > high) high = py;
      count++;
    } else {
      finish();
      if (!isDown) path.moveTo(px, py);
      else {
        if (isStep) path.lineTo(px, last);
        path.lineTo(px, py);
      }
      column = px;
      low = high = py;
      count = 1;
    }
    last = py;
    isDown = true;
  }
  finish();
  return path;
}

function extentOf(x, y, [from, to], extent) {
  const end = countUpTo(x, to);
  for (let at = Math.max(0, countUpTo(x, from) - 1); at < end; at++) {
    const value = y[at];
    if (value < extent[0]) extent[0] = value;
    if (value > extent[1]) extent[1] = value;
  }
}

function padded([low, high], below, above) {
  if (low > high) return [0, 1];
  const room = high - low || Math.abs(high) * 1e-4 || 1;
  return [low - room * below, high + room * above];
}
