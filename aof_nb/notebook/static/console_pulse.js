// Says that somebody looks at the console, so that nothing is read for a page that nobody sees.
export default {
  render({ model, el }) {
    el.classList.add("aof-console-pulse");
    const tell = () => {
      if (document.visibilityState === "visible") model.send({ do: "here" });
    };
    tell();
    const timer = setInterval(tell, 5000);
    document.addEventListener("visibilitychange", tell);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tell);
    };
  },
};
