// A script that each of many models carries in its state, and each imports: packed, a third of its size.
const bytes = Uint8Array.from(atob("__PACKED__"), (letter) => letter.charCodeAt(0));

export default async () => {
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = new Blob([await new Response(unpacked).blob()], { type: "text/javascript" });
  const url = URL.createObjectURL(script);
  const { default: make } = await import(url);
  URL.revokeObjectURL(url);
  return make();
};
