// The libraries come minified and without types: what the page uses of them is checked by its tests in a browser.
declare module "*/markdown-it.esm.min.mjs" { const library: any; export default library; }
declare module "*/purify.es.mjs" { const library: any; export default library; }
declare module "*/highlight.min.js" { const library: any; export default library; }
