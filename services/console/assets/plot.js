// A curve over the last hour.

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 140;
const LEFT = 46;
const BOTTOM = 18;
const HOUR = 3600;
// A curve that has just begun is not squeezed into the last pixel.
const LEAST = 300;

function svg(tag, attributes, text) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

// A number that is a little more, and looks well at an axis.
function above(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

export class Plot {
  constructor(title, show, least) {
    this.title = title;
    this.show = show;
    this.least = least;
    this.node = svg("svg", { class: "plot", viewBox: "0 0 " + WIDTH + " " + HEIGHT, role: "img" });
    this.curve = svg("path", { d: "" });
    this.top = svg("text", { x: 2, y: 12 });
    this.from = svg("text", { x: LEFT, y: HEIGHT - 4 });
    this.node.append(
      svg("line", { x1: LEFT, y1: 6, x2: WIDTH, y2: 6 }),
      svg("line", { x1: LEFT, y1: HEIGHT - BOTTOM, x2: WIDTH, y2: HEIGHT - BOTTOM }),
      this.curve, this.top, svg("text", { x: 2, y: HEIGHT - BOTTOM }, "0"),
      this.from, svg("text", { x: WIDTH - 26, y: HEIGHT - 4 }, "now"));
    this.draw([], 10);
  }

  // points: [[time, value]], oldest first. Where nothing is known for long, the curve has a gap.
  draw(points, step) {
    const now = Date.now() / 1000;
    const most = above(Math.max(this.least, ...points.map((point) => point[1])));
    const shown = Math.min(HOUR, Math.max(LEAST, points.length ? now - points[0][0] : HOUR));
    const x = (time) => LEFT + (WIDTH - LEFT) * (1 - (now - time) / shown);
    const y = (value) => 6 + (HEIGHT - BOTTOM - 6) * (1 - value / most);
    let path = "";
    let last = -Infinity;
    for (const [time, value] of points) {
      if (now - time > shown) continue;
      path += (time - last > 3 * step ? "M" : "L") + x(time).toFixed(1) + " " + y(value).toFixed(1);
      last = time;
    }
    this.curve.setAttribute("d", path);
    this.top.textContent = this.show(most);
    this.from.textContent = shown < HOUR ? Math.round(shown / 60) + " min ago" : "1 h ago";
    const latest = points.length ? this.show(points[points.length - 1][1]) : "unknown";
    this.node.setAttribute("aria-label", this.title + " over the last hour: now " + latest + ", " + points.length + " points");
  }
}
