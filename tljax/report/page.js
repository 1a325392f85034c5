document.querySelectorAll(".slider input").forEach(function (input) {
  input.addEventListener("input", function () {
    input.closest(".slider").style.setProperty("--cut", input.value + "%");
  });
});
document.querySelectorAll(".save").forEach(function (save) {
  var button = save.querySelector("button"), told = save.querySelector("output");
  var boxes = Array.from(document.querySelectorAll(".decision input"));
  function rows() {
    var chosen = boxes.filter(function (box) { return box.checked; });
    var dropped = new Set(chosen.filter(function (box) { return box.dataset.action === "drop"; }).map(file));
    var kept = Array.from(save.querySelectorAll("li")).filter(function (item) { return !dropped.has(file(item)); });
    var decided = new Map(chosen.map(function (box) { return [file(box), row(box)]; }));
    return Array.from(decided.values()).concat(kept.map(row));
  }
  function file(element) { return element.dataset.file; }
  function row(element) {
    var data = element.dataset;
    return [data.file, data.action, data.label || "", data.group || ""];
  }
  function tell() {
    var count = new Set(boxes.filter(function (box) { return box.checked; }).map(file)).size;
    told.textContent = count + (count === 1 ? " photo decided on" : " photos decided on");
  }
  boxes.forEach(function (box) {
    box.addEventListener("change", function () {
      boxes.forEach(function (other) {
        if (file(other) !== file(box) || other === box) { return; }
        other.checked = box.checked && other.dataset.action === box.dataset.action
          && other.dataset.label === box.dataset.label;
      });
      tell();
    });
  });
  button.addEventListener("click", function () {
    var lines = [["file", "action", "label", "group"]].concat(rows()).map(function (cells) {
      return cells.map(function (cell) { return '"' + cell.replace(/"/g, '""') + '"'; }).join(",");
    });
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
    link.download = button.dataset.name;
    link.click();
  });
  tell();
});
