// The LoRA adapters that are served beside the model. They are chosen where models are: in the header.

import { element, tableRow } from "./dom.js";

/**
 * @typedef {{name: string, parent: string, root: string, revision: string, rank: number, requests: number}} Adapter
 */

/** One line for each, where there are any. @param {Adapter[]} adapters of /v1/status */
export function showAdapters(adapters) {
  element("adapters-part").hidden = adapters.length === 0;
  const lines = adapters.map((one) => {
    return tableRow([one.name, one.parent, one.root, one.revision.slice(0, 12), one.rank, one.requests]);
  });
  element("adapters").replaceChildren(...lines);
}
