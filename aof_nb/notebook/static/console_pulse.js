// Says that somebody looks at the console, so that nothing is read for a page that nobody sees.
export default {
  render({ model, el }) {
    el.classList.add("aof-console-pulse");
    const tell = () => {
      if (document.visibilityState !== "visible") return;
      model.send({ do: "here", attached: el.isConnected });
    };
    tell();
    // A view is made before the page has a place for it, and is kept where it has none.
    const soon = [200, 1000].map((wait) => setTimeout(tell, wait));
    const timer = setInterval(tell, 5000);
    document.addEventListener("visibilitychange", tell);
    return () => {
      soon.forEach(clearTimeout);
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tell);
    };
  },
};
