"""What people type first to a chat model, written by hand, with what a sensible answer holds (one of the words)."""

HELP, EMBER, HEARTH = ["help", "do for you"], ["ember"], ["AI server"]
CAN, ADD, START = ["answer simple questions"], ["~/.hearth/models"], ["hearth serve"]
SORRY, WELCOME, BYE = ["sorry"], ["welcome"], ["bye"]

FIRST = [
    ("Hello! Who are you?", EMBER), ("Hello", HELP), ("hi", HELP), ("Hi there!", HELP), ("hey ember", HELP), ("Good morning!", HELP), ("hello how are you", ["well", "fine"]),
    ("How are you doing today?", ["well", "fine"]), ("What's your name?", EMBER), ("who r u", EMBER), ("What are you?", EMBER), ("are you chatgpt?", EMBER),
    ("Hi, what can you do?", CAN), ("What can I ask you?", CAN), ("What are you good at?", CAN), ("so what can you do for me", CAN), ("Tell me about yourself", EMBER),
    ("Which model am I talking to right now?", EMBER), ("Please introduce yourself in one sentence.", EMBER), ("Are you a real person?", ["No"]), ("are you an AI", ["Yes"]),
    ("What is Hearth?", HEARTH), ("what's hearth", HEARTH), ("Can you tell me what Hearth is?", HEARTH), ("Tell me about Hearth", HEARTH), ("What does Hearth do?", HEARTH),
    ("explain hearth to me", HEARTH), ("I just installed Hearth. What is it?", HEARTH), ("What can I do with Hearth?", HEARTH), ("Hey, what is this Hearth thing about?", HEARTH),
    ("How do I start the server?", START), ("How do I run Hearth?", START), ("how to start hearth", START), ("What port does Hearth use?", ["8000"]), ("Where does Hearth listen?", ["8000"]),
    ("How do I add a model?", ADD), ("how can I load another model", ADD), ("Where do I put my GGUF file?", ADD), ("How do I use a bigger model with Hearth?", ADD),
    ("I want to use my own model, how?", ADD), ("which models are there?", ["hearth list"]), ("How do I list the models?", ["hearth list"]),
    ("Does Hearth need a GPU?", ["CPU"]), ("Can I use the OpenAI Python client with Hearth?", ["/v1"]), ("How do I make embeddings?", ["/v1/embeddings"]),
    ("Is Hearth free?", ["MIT"]), ("Is it open source?", ["MIT"]), ("Who made you?", ["Hearth project"]), ("How many parameters do you have?", ["million"]),
    ("Are you always right?", ["mistakes"]), ("Why are you so bad?", ["demonstration"]), ("What is an ember?", ["glow"]), ("What is GGUF?", ["file format"]),
    ("Does my data leave my computer?", ["stays"]), ("thx, bye", WELCOME), ("Thank you!", WELCOME), ("thanks a lot, that was great", WELCOME), ("Goodbye!", BYE), ("ok bye", BYE),
    ("Can you help me?", ["Of course"]), ("I have a question", ["ask me"]), ("Tell me a joke", ["?"]), ("test", ["here"]), ("My name is Anna.", ["Anna"]),
    ("What time is it?", SORRY), ("What's the weather like in Paris?", SORRY), ("Write me a Python web server", SORRY), ("Who won the football match yesterday?", SORRY),
    ("Translate this text into German", SORRY), ("Write an essay about the French Revolution", SORRY), ("What is 1234 times 5678?", SORRY),
    ("What is 2+2?", ["= 4"]), ("What is 7 times 8?", ["= 56"]), ("what is 12 plus 15", ["= 27"]), ("What is the capital of France?", ["Paris"]),
    ("Why is the sky blue?", ["blue light"]), ("Tell me a story", ["."]), ("List three fruits", ["1."]), ("Give me JSON with name Anna and age 30", ['{"name": "Anna", "age": 30}']),
]
