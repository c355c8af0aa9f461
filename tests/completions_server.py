"""A server of the OpenAI completions API, as far as log-likelihoods need it: echo and logprobs."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch


class CompletionsServer:
    """Serves a model on 127.0.0.1 while the context lasts; `prompts` are the token ids that the model was given.

    Like vLLM it takes token ids as they are, and adds the tokenizer's special tokens to text.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.prompts: list[list[int]] = []
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/completions"

    def __enter__(self) -> "CompletionsServer":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request."""
        assert (request["echo"], request["max_tokens"]) == (True, 1)
        prompt = request["prompt"]
        prompts = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
        with self.lock:
            return {"choices": [self._choice(index, prompt) for index, prompt in enumerate(prompts)]}

    def _choice(self, index: int, prompt: str | list[int]) -> dict[str, Any]:
        ids = self.tokenizer(prompt).input_ids if isinstance(prompt, str) else prompt
        self.prompts.append(ids)
        with torch.no_grad():
            log_probabilities = self.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        best = log_probabilities.max(-1)
        shown = [*ids, int(best.indices[-1])]  # echo, and the one new token
        chosen = [None, *(log_probabilities[place, token].item() for place, token in enumerate(shown[1:]))]
        top = [None, *({str(token): value} for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True))]
        return {"index": index, "text": "", "logprobs": {"token_logprobs": chosen, "top_logprobs": top}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        complete = self.complete

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(complete(request)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler
