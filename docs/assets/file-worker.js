// A worker for pages that are opened from the disk, where browsers allow no Worker: the script runs in a hidden frame.
// It serves the site's search, whose script only reads `self.onmessage` and calls `self.postMessage`.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.onmessage = this.onerror = this.onmessageerror = null;
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.documentElement.append(this.frame);
      this.inside = this.frame.contentWindow;
      this.inside.postMessage = (data) => setTimeout(() => this.onmessage?.({ data }));
      const script = this.inside.document.createElement("script");
      script.src = new URL(url, document.baseURI);
      script.onload = () => this.waiting.splice(0).forEach((data) => this.inside.onmessage({ data }));
      script.onerror = () => this.onerror?.(new Event("error"));
      this.inside.document.body.append(script);
    }

    postMessage(data) {
      if (this.inside.onmessage) this.inside.onmessage({ data });
      else this.waiting.push(data);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
