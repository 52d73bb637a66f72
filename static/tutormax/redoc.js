// ReDoc shows its maker's logo from another host, which the Content-Security-Policy blocks: it is not even asked for.
// What is shown instead is no image, and ReDoc takes it away.
const image = HTMLImageElement.prototype;
const source = Object.getOwnPropertyDescriptor(image, "src");
const ours = (url) => (new URL(url, location).origin === location.origin ? url : "data:,");

image.setAttribute = function (name, value) {
  Element.prototype.setAttribute.call(this, name, name === "src" ? ours(value) : value);
};
Object.defineProperty(image, "src", { ...source, set(url) { source.set.call(this, ours(url)); } });
