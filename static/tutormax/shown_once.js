// The page of a new key is the answer to a form: loaded again, it would make another key. So it is the list that is loaded.
history.replaceState(null, "", document.querySelector("[data-instead]").dataset.instead);
