// What each model has in its state, with take.js: it takes the script of its kind from the page, to which a model of its
// own brings it (bring.js), before or after.
const slot = (globalThis["__NAME__"] ??= {});
slot.script ??= new Promise((bring) => (slot.bring = bring));
