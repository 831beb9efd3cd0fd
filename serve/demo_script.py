"""What the page's own script adds to Gradio's."""

HEAD = """
<script>
// A browser calls every .webm and many an .ogg a video, and Gradio's upload takes audio alone, by that name. What a
// file holds is for the server to say.
addEventListener("change", event => {
  const input = event.target;
  if (input.type !== "file" || !input.files.length) return;
  const files = new DataTransfer();
  for (const file of input.files)
    files.items.add(file.type.startsWith("audio/") ? file : new File([file], file.name, {type: "audio/webm"}));
  input.files = files.files;
}, true);
addEventListener("click", () => {
  for (const input of document.querySelectorAll("input[type=file]")) input.accept = "audio/*,video/webm,video/ogg";
}, true);
</script>
"""
