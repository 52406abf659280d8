"""Small facts: tables with several phrasings each, forwards and backwards, and definitions of everyday terms."""

import random
from dataclasses import dataclass

from .common import MONTHS, DAYS, Sample, a_an, ask, cap, held_out, noisy, turn


@dataclass
class Fact:
    questions: list  # direct questions, lower-case start, no question mark
    answer: str  # a full sentence
    must: str  # what a right answer contains
    short: str  # the terse form


def rows(table: str) -> list:
    """Lines of cells parted by '|'."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


CAPITALS = rows("""
France|Paris|Europe|French|euro
Germany|Berlin|Europe|German|euro
Italy|Rome|Europe|Italian|euro
Spain|Madrid|Europe|Spanish|euro
Portugal|Lisbon|Europe|Portuguese|euro
Austria|Vienna|Europe|German|euro
Poland|Warsaw|Europe|Polish|zloty
Greece|Athens|Europe|Greek|euro
Sweden|Stockholm|Europe|Swedish|krona
Norway|Oslo|Europe|Norwegian|krone
Denmark|Copenhagen|Europe|Danish|krone
Finland|Helsinki|Europe|Finnish|euro
Ireland|Dublin|Europe|English|euro
Hungary|Budapest|Europe|Hungarian|forint
Romania|Bucharest|Europe|Romanian|leu
Bulgaria|Sofia|Europe|Bulgarian|lev
Ukraine|Kyiv|Europe|Ukrainian|hryvnia
Russia|Moscow|Europe|Russian|rouble
Iceland|Reykjavik|Europe|Icelandic|krona
Croatia|Zagreb|Europe|Croatian|euro
Serbia|Belgrade|Europe|Serbian|dinar
the Netherlands|Amsterdam|Europe|Dutch|euro
the United Kingdom|London|Europe|English|pound
the Czech Republic|Prague|Europe|Czech|koruna
Turkey|Ankara|Asia|Turkish|lira
China|Beijing|Asia|Chinese|yuan
Japan|Tokyo|Asia|Japanese|yen
India|New Delhi|Asia|Hindi|rupee
South Korea|Seoul|Asia|Korean|won
Thailand|Bangkok|Asia|Thai|baht
Vietnam|Hanoi|Asia|Vietnamese|dong
Indonesia|Jakarta|Asia|Indonesian|rupiah
Iran|Tehran|Asia|Persian|rial
Iraq|Baghdad|Asia|Arabic|dinar
Nepal|Kathmandu|Asia|Nepali|rupee
Mongolia|Ulaanbaatar|Asia|Mongolian|tugrik
Egypt|Cairo|Africa|Arabic|pound
Kenya|Nairobi|Africa|Swahili|shilling
Ghana|Accra|Africa|English|cedi
Ethiopia|Addis Ababa|Africa|Amharic|birr
Morocco|Rabat|Africa|Arabic|dirham
Senegal|Dakar|Africa|French|franc
Tunisia|Tunis|Africa|Arabic|dinar
Canada|Ottawa|North America|English|dollar
Mexico|Mexico City|North America|Spanish|peso
Cuba|Havana|North America|Spanish|peso
the United States|Washington, D.C.|North America|English|dollar
Brazil|Brasilia|South America|Portuguese|real
Argentina|Buenos Aires|South America|Spanish|peso
Chile|Santiago|South America|Spanish|peso
Peru|Lima|South America|Spanish|sol
Colombia|Bogota|South America|Spanish|peso
Uruguay|Montevideo|South America|Spanish|peso
Australia|Canberra|Oceania|English|dollar
New Zealand|Wellington|Oceania|English|dollar
""")

ANIMAL_FACTS = rows("""
dog|barks|puppy|4|mammal
cat|meows|kitten|4|mammal
cow|moos|calf|4|mammal
horse|neighs|foal|4|mammal
sheep|bleats|lamb|4|mammal
pig|oinks|piglet|4|mammal
duck|quacks|duckling|2|bird
chicken|clucks|chick|2|bird
lion|roars|cub|4|mammal
wolf|howls|pup|4|mammal
frog|croaks|tadpole|4|amphibian
owl|hoots|owlet|2|bird
goat|bleats|kid|4|mammal
bee|buzzes|larva|6|insect
snake|hisses|snakelet|0|reptile
mouse|squeaks|pup|4|mammal
bear|growls|cub|4|mammal
elephant|trumpets|calf|4|mammal
deer|bells|fawn|4|mammal
swan|trumpets|cygnet|2|bird
""")

ANIMAL_KINDS = rows("""
whale|mammal
dolphin|mammal
bat|mammal
eagle|bird
penguin|bird
parrot|bird
shark|fish
salmon|fish
trout|fish
crocodile|reptile
turtle|reptile
lizard|reptile
ant|insect
butterfly|insect
fly|insect
beetle|insect
spider|arachnid
toad|amphibian
tiger|mammal
kangaroo|mammal
""")

OPPOSITES = rows("""
hot|cold
big|small
tall|short
fast|slow
happy|sad
light|dark
day|night
up|down
left|right
open|closed
old|young
rich|poor
early|late
hard|soft
wet|dry
full|empty
strong|weak
clean|dirty
loud|quiet
good|bad
near|far
high|low
long|short
thick|thin
heavy|light
true|false
first|last
always|never
begin|end
buy|sell
push|pull
win|lose
love|hate
inside|outside
above|below
before|after
black|white
sweet|sour
sharp|blunt
deep|shallow
wide|narrow
safe|dangerous
easy|difficult
cheap|expensive
smooth|rough
brave|afraid
asleep|awake
alive|dead
friend|enemy
summer|winter
north|south
east|west
question|answer
yes|no
give|take
arrive|leave
remember|forget
war|peace
""")

SYNONYMS = rows("""
big|large
small|little
happy|glad
fast|quick
begin|start
end|finish
smart|clever
sad|unhappy
angry|furious
beautiful|lovely
cold|chilly
quiet|silent
rich|wealthy
scared|afraid
strange|odd
funny|amusing
house|home
gift|present
road|street
child|kid
sick|ill
easy|simple
""")

ELEMENTS = rows("""
hydrogen|H|1
helium|He|2
lithium|Li|3
carbon|C|6
nitrogen|N|7
oxygen|O|8
fluorine|F|9
neon|Ne|10
sodium|Na|11
magnesium|Mg|12
aluminium|Al|13
silicon|Si|14
phosphorus|P|15
sulfur|S|16
chlorine|Cl|17
potassium|K|19
calcium|Ca|20
iron|Fe|26
copper|Cu|29
zinc|Zn|30
silver|Ag|47
tin|Sn|50
gold|Au|79
mercury|Hg|80
lead|Pb|82
uranium|U|92
""")

PLANETS = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split()
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()

MIXES = rows("""
blue|yellow|green
red|yellow|orange
red|blue|purple
black|white|grey
red|white|pink
""")

THING_COLOURS = rows("""
grass|green
the sky|blue
snow|white
coal|black
blood|red
a lemon|yellow
a banana|yellow
a carrot|orange
a tomato|red
milk|white
chocolate|brown
the sun|yellow
a strawberry|red
an elephant|grey
a flamingo|pink
a frog|green
the sea|blue
salt|white
a pumpkin|orange
""")

WORKERS = rows("""
bakes bread|baker
teaches children|teacher
flies a plane|pilot
puts out fires|firefighter
grows food|farmer
repairs teeth|dentist
cooks in a restaurant|cook
writes books|author
drives a bus|bus driver
paints pictures|painter
treats sick people|doctor
treats sick animals|vet
builds houses|builder
cuts hair|hairdresser
catches thieves|police officer
designs buildings|architect
makes shoes|shoemaker
takes photographs|photographer
delivers letters|postman
travels to space|astronaut
looks after a garden|gardener
writes computer programs|programmer
studies the stars|astronomer
""")

# Word in English, French, German, Spanish, Italian.
TRANSLATIONS = rows("""
hello|bonjour|hallo|hola|ciao
thank you|merci|danke|gracias|grazie
yes|oui|ja|sí|sì
no|non|nein|no|no
water|eau|Wasser|agua|acqua
bread|pain|Brot|pan|pane
house|maison|Haus|casa|casa
cat|chat|Katze|gato|gatto
dog|chien|Hund|perro|cane
book|livre|Buch|libro|libro
friend|ami|Freund|amigo|amico
sun|soleil|Sonne|sol|sole
moon|lune|Mond|luna|luna
tree|arbre|Baum|árbol|albero
red|rouge|rot|rojo|rosso
green|vert|grün|verde|verde
one|un|eins|uno|uno
two|deux|zwei|dos|due
three|trois|drei|tres|tre
milk|lait|Milch|leche|latte
good night|bonne nuit|gute Nacht|buenas noches|buona notte
goodbye|au revoir|auf Wiedersehen|adiós|arrivederci
fire|feu|Feuer|fuego|fuoco
apple|pomme|Apfel|manzana|mela
""")
LANGUAGES = "French German Spanish Italian".split()

UNITS = rows("""
seconds|a minute|60
minutes|an hour|60
hours|a day|24
days|a week|7
months|a year|12
days|a year|365
weeks|a year|52
years|a century|100
years|a decade|10
centimetres|a metre|100
metres|a kilometre|1000
grams|a kilogram|1000
millimetres|a centimetre|10
cents|a dollar|100
inches|a foot|12
bits|a byte|8
items|a dozen|12
degrees|a right angle|90
degrees|a full circle|360
sides|a triangle|3
sides|a square|4
sides|a pentagon|5
sides|a hexagon|6
legs|a spider|8
legs|an insect|6
wheels|a bicycle|2
wheels|a car|4
wheels|a tricycle|3
letters|the English alphabet|26
players|a football team|11
strings|a violin|4
fingers|a hand|5
continents|the world|7
planets|the solar system|8
colours|a rainbow|7
seasons|a year|4
minutes|half an hour|30
vowels|the English alphabet|5
""")

# Questions with '/' between phrasings | answer sentence | what it must contain.
GENERAL = rows("""
what is the largest planet/which planet is the biggest/what's the biggest planet in the solar system/which is the largest of the planets|The largest planet in the solar system is Jupiter.|Jupiter
what is the smallest planet/which planet is the smallest/which is the smallest of the planets|The smallest planet in the solar system is Mercury.|Mercury
which planet is closest to the sun/what planet is nearest to the sun/what is the planet nearest the sun|The planet closest to the sun is Mercury.|Mercury
which planet is called the red planet/what is the red planet/what planet is red|Mars is called the red planet.|Mars
which planet has big rings/which planet is famous for its rings/what planet has rings|Saturn is famous for its rings.|Saturn
what is the largest ocean/which ocean is the biggest/what's the biggest ocean in the world|The largest ocean is the Pacific Ocean.|Pacific
what is the longest river/which river is the longest in the world/what's the longest river on earth|The longest river is usually said to be the Nile.|Nile
what is the highest mountain/which mountain is the tallest in the world/what's the tallest mountain on earth|The highest mountain on Earth is Mount Everest.|Everest
what is the largest animal/which animal is the biggest/what's the biggest animal in the world|The largest animal is the blue whale.|blue whale
what is the fastest land animal/which animal runs the fastest/what's the fastest animal on land|The fastest land animal is the cheetah.|cheetah
what is the tallest animal/which animal is the tallest/which animal has the longest neck|The tallest animal is the giraffe.|giraffe
what is the largest land animal/which is the biggest animal on land/what's the biggest land animal|The largest land animal is the African elephant.|elephant
what is the largest bird/which bird is the biggest/what's the biggest bird|The largest bird is the ostrich.|ostrich
what is the largest continent/which continent is the biggest/what's the biggest continent|The largest continent is Asia.|Asia
what is the largest country/which country is the biggest/what's the biggest country by area|The largest country by area is Russia.|Russia
what is the smallest country/which country is the smallest in the world|The smallest country is Vatican City.|Vatican
what is the largest desert of hot sand/which hot desert is the biggest/what's the biggest hot desert|The largest hot desert is the Sahara in Africa.|Sahara
who wrote romeo and juliet/who is the author of Romeo and Juliet/which writer wrote Romeo and Juliet|Romeo and Juliet was written by William Shakespeare.|Shakespeare
who wrote hamlet/who is the author of Hamlet/which writer wrote Hamlet|Hamlet was written by William Shakespeare.|Shakespeare
who wrote faust/who is the author of Faust|Faust was written by Johann Wolfgang von Goethe.|Goethe
who wrote don quixote/who is the author of Don Quixote|Don Quixote was written by Miguel de Cervantes.|Cervantes
who wrote war and peace/who is the author of War and Peace|War and Peace was written by Leo Tolstoy.|Tolstoy
who painted the mona lisa/who is the painter of the Mona Lisa/which artist painted the Mona Lisa|The Mona Lisa was painted by Leonardo da Vinci.|Leonardo
who painted the starry night/which artist painted The Starry Night|The Starry Night was painted by Vincent van Gogh.|Gogh
who invented the telephone/who is the inventor of the telephone/who made the first telephone|The telephone is usually credited to Alexander Graham Bell.|Bell
who invented the light bulb/who is known for the light bulb/who made the light bulb|The practical light bulb is usually credited to Thomas Edison.|Edison
who invented the printing press/who is known for the printing press in Europe|The printing press in Europe was invented by Johannes Gutenberg.|Gutenberg
who discovered gravity/who described the law of gravity/who is famous for gravity and an apple|The law of gravity was described by Isaac Newton.|Newton
who developed the theory of relativity/who is known for relativity/who came up with relativity|The theory of relativity was developed by Albert Einstein.|Einstein
who discovered radium/which scientist discovered radium|Radium was discovered by Marie and Pierre Curie.|Curie
who was the first person on the moon/who walked on the moon first/who first stepped on the moon|The first person on the moon was Neil Armstrong, in 1969.|Armstrong
who was the first person in space/who flew to space first|The first person in space was Yuri Gagarin, in 1961.|Gagarin
who wrote the first computer program/who is called the first programmer|Ada Lovelace is often called the first programmer.|Lovelace
who composed the ninth symphony with the ode to joy/which composer wrote the Ode to Joy|Ludwig van Beethoven composed the Ninth Symphony with the Ode to Joy.|Beethoven
who composed the magic flute/which composer wrote The Magic Flute|The Magic Flute was composed by Wolfgang Amadeus Mozart.|Mozart
who was the first president of the united states/who was the first US president|The first president of the United States was George Washington.|Washington
at what temperature does water boil/when does water boil/what is the boiling point of water|Water boils at 100 degrees Celsius at sea level.|100
at what temperature does water freeze/when does water freeze/what is the freezing point of water|Water freezes at 0 degrees Celsius.|0
what is water made of/what is the formula of water/what is the chemical formula for water|Water is made of hydrogen and oxygen; its formula is H2O.|H2O
what is the formula of table salt/what is salt made of/what is the chemical formula for salt|Table salt is sodium chloride, NaCl.|NaCl
what do plants need to grow/what does a plant need to grow/what do plants need|Plants need light, water, air and soil to grow.|water
what do bees make/what sweet food comes from bees/what do bees produce|Bees make honey.|honey
what do cows give us/what drink comes from cows/which drink do we get from cows|Cows give us milk.|milk
what do caterpillars become/what does a caterpillar turn into/what will a caterpillar be|A caterpillar becomes a butterfly.|butterfly
what do pandas eat/what is the food of pandas/what does a panda eat|Pandas eat bamboo.|bamboo
what do cows eat/what does a cow eat|Cows eat grass and hay.|grass
what do rabbits eat/what does a rabbit eat|Rabbits eat grass, hay and vegetables.|grass
what is bread made from/what do you need to make bread/what is in bread|Bread is made from flour, water, salt and yeast.|flour
what is cheese made from/what do you need to make cheese|Cheese is made from milk.|milk
what is glass made from/what is glass made of|Glass is made from melted sand.|sand
what is paper made from/what is paper made of|Paper is made from wood.|wood
what is ice/what is frozen water called|Ice is frozen water.|water
what is steam/what is boiling water's vapour called|Steam is water in the form of a gas.|water
what gas do we breathe in to live/which gas do people need to live/what gas do we need to breathe|People need oxygen to live.|oxygen
what gas do plants take in/which gas do plants use|Plants take in carbon dioxide and give off oxygen.|carbon dioxide
why is the sky blue/what makes the sky blue/how come the sky is blue|The sky is blue because air scatters blue light from the sun more than red light.|blue light
why do leaves change colour in autumn/why do leaves turn yellow in autumn|Leaves change colour because trees stop making green chlorophyll in autumn.|chlorophyll
why is the sea salty/why is the ocean salty/what makes the sea salty|The sea is salty because rivers carry minerals from rocks into it.|minerals
why do we sleep/why do people need sleep|We sleep so that body and mind can rest and recover.|rest
what causes day and night/why do we have day and night/why is there night|Day and night come from the Earth turning on its axis once a day.|turn
what causes the seasons/why do we have seasons/why are there seasons|The seasons come from the tilt of the Earth's axis as it goes around the sun.|tilt
what causes rain/where does rain come from/why does it rain|Rain falls when water vapour in clouds cools and forms drops.|cloud
what causes tides/why are there tides|Tides are caused mainly by the gravity of the moon.|moon
what is a rainbow/how does a rainbow form|A rainbow forms when sunlight is bent and split by drops of rain.|light
how does a plane fly/why can planes fly|A plane flies because its wings, moving through the air, make lift.|lift
how does a magnet work/what does a magnet do|A magnet attracts iron and some other metals.|iron
how do birds fly/why can birds fly|Birds fly by flapping their wings, which push against the air.|wings
how do fish breathe/what do fish breathe with|Fish breathe with gills, which take oxygen from the water.|gills
where do penguins live/where can you find penguins|Penguins live in the southern half of the world, many of them in Antarctica.|Antarctica
where do polar bears live/where can you find polar bears|Polar bears live in the Arctic.|Arctic
where do kangaroos live/which country has kangaroos/where can you find kangaroos|Kangaroos live in Australia.|Australia
where does the sun rise/in which direction does the sun rise|The sun rises in the east.|east
where does the sun set/in which direction does the sun set|The sun sets in the west.|west
where is the eiffel tower/in which city is the Eiffel Tower/what city has the Eiffel Tower|The Eiffel Tower is in Paris, France.|Paris
where is the colosseum/in which city is the Colosseum|The Colosseum is in Rome, Italy.|Rome
where are the pyramids of giza/in which country are the pyramids of Giza|The pyramids of Giza are in Egypt.|Egypt
where is the great wall/in which country is the Great Wall|The Great Wall is in China.|China
where is the taj mahal/in which country is the Taj Mahal|The Taj Mahal is in Agra, India.|India
where is the statue of liberty/in which city is the Statue of Liberty|The Statue of Liberty is in New York.|New York
where is big ben/in which city is Big Ben|Big Ben is in London.|London
how far is the moon/what is the distance to the moon/how far away is the moon|The moon is about 384,000 kilometres from the Earth.|384
how fast is light/what is the speed of light/how fast does light travel|Light travels at about 300,000 kilometres per second.|300
how old is the earth/what is the age of the earth|The Earth is about 4.5 billion years old.|4.5
how many bones does a person have/how many bones are in the human body|An adult has 206 bones.|206
how many teeth does an adult have/how many teeth do adults have|An adult usually has 32 teeth.|32
what pumps blood through the body/which organ pumps blood/what does the heart do|The heart pumps blood through the body.|heart
what do we see with/which organ do we use to see|We see with our eyes.|eyes
what do we hear with/which organ do we use to hear|We hear with our ears.|ears
what do we smell with/which organ do we use to smell|We smell with our nose.|nose
what do lungs do/what are lungs for|The lungs take in oxygen from the air.|oxygen
what language is spoken in brazil/which language do people speak in Brazil|People in Brazil speak Portuguese.|Portuguese
what is the season after winter/which season comes after winter/what comes after winter|After winter comes spring.|spring
what is the season after spring/which season comes after spring/what comes after spring|After spring comes summer.|summer
what is the season after summer/which season comes after summer/what comes after summer|After summer comes autumn.|autumn
what is the season after autumn/which season comes after autumn/what comes after autumn|After autumn comes winter.|winter
what is the coldest season/which season is the coldest|The coldest season is winter.|winter
what is the warmest season/which season is the hottest|The warmest season is summer.|summer
what are the primary colours/which colours are primary|The primary colours of paint are red, yellow and blue.|red
what are the four seasons/can you name the seasons/what are the seasons of the year|The four seasons are spring, summer, autumn and winter.|spring
what are the colours of the rainbow/which colours are in a rainbow|The colours of the rainbow are red, orange, yellow, green, blue, indigo and violet.|indigo
what are the vowels/which letters are vowels|The vowels are a, e, i, o and u.|a, e, i, o
what are the continents/which continents are there/what are the seven continents|The seven continents are Africa, Antarctica, Asia, Europe, North America, Oceania and South America.|Antarctica
what are the planets/which planets are there/what are the planets of the solar system|The planets are Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune.|Neptune
what are the oceans/which oceans are there/what are the five oceans|The five oceans are the Pacific, Atlantic, Indian, Southern and Arctic Ocean.|Atlantic
what are the days of the week/which days are in a week|The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.|Wednesday
what are the months of the year/which months are in a year|The months are January, February, March, April, May, June, July, August, September, October, November and December.|October
what are the four directions/what are the compass directions|The four directions are north, east, south and west.|north
what are the five senses/which senses do people have|The five senses are sight, hearing, smell, taste and touch.|hearing
is the earth flat/is the earth round or flat/what shape is the earth|The Earth is round, almost a ball.|round
is the sun a star/what kind of thing is the sun|Yes, the sun is a star.|star
is a tomato a fruit or a vegetable/is a tomato a fruit|Botanically a tomato is a fruit, but cooks treat it as a vegetable.|fruit
what is heavier a kilo of feathers or a kilo of iron/which is heavier, a kilo of feathers or a kilo of iron|They weigh the same: one kilogram each.|same
""")

DEFINITIONS = rows("""
computer|a machine that follows instructions to work with information
program|a list of instructions for a computer
keyboard|a set of keys for typing
mouse pad|a small mat for a computer mouse
internet|a worldwide network that connects computers
website|a set of pages that you can open on the internet
server|a computer or program that answers requests from other programs
database|an organised collection of data
algorithm|a step-by-step method for solving a problem
compiler|a program that turns source code into machine code
API|a set of rules by which programs talk to each other
token|a small piece of text that a language model reads or writes
neural network|a computer model made of many simple connected units that learns from examples
language model|a program that predicts the next piece of text
embedding|a list of numbers that stands for the meaning of a text
machine learning|a way to let computers learn from examples
artificial intelligence|the field of making machines do tasks that seem to need thinking
robot|a machine that can do tasks by itself
telescope|an instrument that makes distant things look closer
microscope|an instrument that makes tiny things visible
thermometer|an instrument that measures temperature
compass|an instrument that shows where north is
clock|a device that shows the time
umbrella|a cover that keeps you dry in the rain
bicycle|a vehicle with two wheels that you drive with pedals
train|a row of carriages that runs on rails
bridge|a structure that carries a road or railway over something
library|a place where books are kept and lent
museum|a place where interesting objects are shown
school|a place where people learn
hospital|a place where sick people are treated
restaurant|a place where you can buy and eat a meal
bakery|a place where bread and cakes are made
farm|a place where food is grown and animals are kept
forest|a large area covered with trees
desert|a very dry area with few plants
island|a piece of land with water all around it
mountain|a very high hill
volcano|a mountain that can throw out hot melted rock
river|a large stream of water that flows to the sea or a lake
lake|a large area of water with land around it
ocean|a very large area of salt water
glacier|a huge, slowly moving mass of ice
cloud|a mass of tiny drops of water in the sky
wind|moving air
storm|bad weather with strong wind
thunder|the sound that lightning makes
lightning|a flash of electricity in the sky
snow|frozen water that falls in white flakes
earthquake|a shaking of the ground
star|a huge ball of hot, glowing gas
planet|a large round body that goes around a star
moon|a body that goes around a planet
comet|a ball of ice and dust that goes around the sun
galaxy|a huge group of stars held together by gravity
gravity|the force that pulls things towards each other
energy|the ability to do work
electricity|energy from moving electric charge
atom|the smallest piece of a chemical element
molecule|a group of atoms joined together
photosynthesis|the way plants make food from light, water and carbon dioxide
evolution|the slow change of living things over generations
DNA|the molecule that carries the building plan of living things
cell|the smallest unit of a living thing
mammal|an animal that feeds its young with milk
reptile|a cold-blooded animal with scales
insect|a small animal with six legs
vegetable|a plant or part of a plant that we eat, often in savoury dishes
fruit|the part of a plant that holds the seeds, often sweet
seed|a small part of a plant from which a new plant grows
tree|a tall plant with a trunk of wood
flower|the part of a plant where seeds are made, often colourful
democracy|a system in which the people choose their government
law|a rule that everyone in a country must follow
money|something that people use to pay for things
bank|a business that keeps and lends money
market|a place where people buy and sell things
tax|money that people pay to the state
map|a drawing that shows where places are
dictionary|a book that explains words
poem|a piece of writing with rhythm and often rhyme
novel|a long made-up story in a book
song|music with words
orchestra|a large group of musicians who play together
painting|a picture made with paint
triangle|a shape with three sides
circle|a round shape whose edge is everywhere equally far from its centre
square|a shape with four equal sides and four right angles
cube|a solid shape with six square faces
prime number|a whole number above 1 that only 1 and itself divide
fraction|a part of a whole number, such as one half
friendship|a bond between people who like and help each other
courage|the strength to do something although it is frightening
patience|the ability to wait calmly
kindness|being friendly and helpful to others
breakfast|the first meal of the day
lunch|the meal in the middle of the day
dinner|the main meal in the evening
soup|a liquid food made by cooking vegetables or meat in water
honey|a sweet food that bees make
sugar|a sweet substance used in food
salt|a white mineral used to season food
kettle|a pot for boiling water
fridge|a machine that keeps food cold
battery|a thing that stores electric energy
engine|a machine that turns energy into motion
wheel|a round thing that turns around its centre
rocket|a vehicle that flies into space
""")

NO_ARTICLE = set(
    "internet machine learning artificial intelligence gravity energy electricity photosynthesis evolution DNA democracy "
    "money friendship courage patience kindness breakfast lunch dinner honey sugar salt wind thunder lightning snow".split()
) | {"machine learning", "artificial intelligence"}


def _named(term: str) -> str:
    if term in NO_ARTICLE:
        return "the internet" if term == "internet" else term
    return ("an " if term[0] in "aeiouA" else "a ") + term


def build() -> list:
    """All facts, as (topic, Fact)."""
    out = []

    def add(topic, questions, answer, must, short=None):
        out.append((topic, Fact(questions, answer, must, short or cap(must) + ".")))

    for country, capital, continent, language, money in CAPITALS:
        dot = capital if capital.endswith(".") else capital + "."
        add("capital", [
            f"what is the capital of {country}", f"what's the capital of {country}", f"which city is the capital of {country}",
            f"capital of {country}", f"what is {country}'s capital", f"what is the capital city of {country}",
            f"do you know the capital of {country}", f"can you tell me the capital of {country}",
            f"which city is {country}'s capital",
        ], f"The capital of {country} is {dot}", capital)
        add("capital", [
            f"which country has the capital {capital}", f"{capital} is the capital of which country",
            f"what country is {capital} the capital of", f"of which country is {capital} the capital",
            f"{capital} is the capital of what",
        ], f"{capital} is the capital of {country}.", country)
        add("continent", [
            f"on which continent is {country}", f"which continent is {country} in", f"what continent is {country} on",
            f"in what part of the world is {country}", f"where is {country}",
        ], f"{cap(country)} is in {continent}.", continent)
        add("language", [
            f"what language is spoken in {country}", f"which language do people speak in {country}",
            f"what do people speak in {country}", f"what is the main language of {country}",
        ], f"A main language of {country} is {language}.", language)
        if money != "euro":
            add("money", [f"what is the currency of {country}", f"which money is used in {country}",
                          f"what money do they use in {country}", f"what currency does {country} use"],
                f"The currency of {country} is the {money}.", money)
        else:
            add("money", [f"what is the currency of {country}", f"which money is used in {country}",
                          f"what money do they use in {country}", f"what currency does {country} use"],
                f"{cap(country)} uses the euro.", "euro")
    for name, sound, baby, legs, kind in ANIMAL_FACTS:
        add("animal", [f"what sound does {a_an(name)} make", f"what does {a_an(name)} do when it makes a sound",
                       f"which sound does {a_an(name)} make", f"how does {a_an(name)} sound"],
            f"{cap(a_an(name))} {sound}.", sound)
        add("animal", [f"what is a baby {name} called", f"what do you call a baby {name}", f"what is the young of {a_an(name)} called",
                       f"how do you call a young {name}", f"what's the name for a baby {name}"],
            f"A baby {name} is called {a_an(baby)}.", baby)
        add("animal", [f"how many legs does {a_an(name)} have", f"what number of legs has {a_an(name)}",
                       f"how many legs has {a_an(name)}"],
            f"{cap(a_an(name))} has {legs} legs." if legs != "0" else f"{cap(a_an(name))} has no legs.",
            legs if legs != "0" else "no legs", legs + "." if legs != "0" else "None.")
    for name, kind in [(r[0], r[4]) for r in ANIMAL_FACTS] + ANIMAL_KINDS:
        add("animal", [f"what kind of animal is {a_an(name)}", f"what type of animal is {a_an(name)}",
                       f"to which group of animals does {a_an(name)} belong", f"which class of animal is {a_an(name)}"],
            f"{cap(a_an(name))} is {a_an(kind)}.", kind)
        for other in ("mammal", "bird", "fish", "insect"):
            right = other == kind
            verb = f"Yes, {a_an(name)} is {a_an(kind)}." if right else f"No, {a_an(name)} is {a_an(kind)}."
            add("animal yes/no", [f"is {a_an(name)} {a_an(other)}", f"is it true that {a_an(name)} is {a_an(other)}",
                                  f"would you say {a_an(name)} is {a_an(other)}"],
                verb, "Yes" if right else f"No", "Yes." if right else "No.")
    for a, b in [(x, y) for x, y in OPPOSITES]:
        for x, y in ((a, b), (b, a)):
            if (x, y) in {("short", "long"), ("light", "heavy"), ("light", "dark")} and y in ("long", "heavy"):
                continue  # ambiguous backwards: keep the first meaning
            add("opposite", [f"what is the opposite of {x}", f"what's the opposite of {x}", f"opposite of {x}",
                             f"which word is the opposite of {x}", f"what word means the opposite of {x}",
                             f"give me the opposite of {x}", f"can you name the opposite of {x}", f"what is the antonym of {x}"],
                f"The opposite of {x} is {y}.", y)
    for x, y in SYNONYMS:
        add("synonym", [f"what is another word for {x}", f"what's a synonym for {x}", f"give me a synonym for {x}",
                        f"which word means the same as {x}", f"what is a synonym of {x}", f"another word for {x}"],
            f"Another word for {x} is {y}.", y)
    for name, symbol, number in ELEMENTS:
        add("element", [f"what is the chemical symbol for {name}", f"what is the symbol of {name}", f"chemical symbol for {name}",
                        f"which symbol does {name} have", f"what's the symbol for {name}"],
            f"The chemical symbol for {name} is {symbol}.", symbol)
        add("element", [f"which element has the symbol {symbol}", f"what element is {symbol}", f"{symbol} is the symbol of which element",
                        f"what does the chemical symbol {symbol} stand for"],
            f"{symbol} is the symbol for {name}.", name)
        add("element", [f"what is the atomic number of {name}", f"which atomic number does {name} have",
                        f"atomic number of {name}"],
            f"The atomic number of {name} is {number}.", number)
    for i, planet in enumerate(PLANETS):
        add("planet", [f"what is the {ORDINALS[i]} planet from the sun", f"which planet is {ORDINALS[i]} from the sun",
                       f"what planet is number {i + 1} from the sun", f"which is the {ORDINALS[i]} planet"],
            f"The {ORDINALS[i]} planet from the sun is {planet}.", planet)
    for i, month in enumerate(MONTHS):
        nxt, prev = MONTHS[(i + 1) % 12], MONTHS[i - 1]
        days = 28 if i == 1 else 30 if i in (3, 5, 8, 10) else 31
        add("calendar", [f"what month comes after {month}", f"which month is after {month}", f"what is the month after {month}",
                         f"which month follows {month}"], f"After {month} comes {nxt}.", nxt)
        add("calendar", [f"what month comes before {month}", f"which month is before {month}", f"what is the month before {month}"],
            f"Before {month} comes {prev}.", prev)
        add("calendar", [f"how many days does {month} have", f"how many days are in {month}", f"how long is {month}"],
            f"{month} has {days} days" + (" (29 in a leap year)." if i == 1 else "."), str(days))
        add("calendar", [f"what is the {ORDINALS[i]} month", f"which month is number {i + 1}", f"what is the {ORDINALS[i]} month of the year"],
            f"The {ORDINALS[i]} month of the year is {month}.", month)
    for i, day in enumerate(DAYS):
        nxt, prev = DAYS[(i + 1) % 7], DAYS[i - 1]
        add("calendar", [f"what day comes after {day}", f"which day is after {day}", f"what is the day after {day}", f"which day follows {day}"],
            f"After {day} comes {nxt}.", nxt)
        add("calendar", [f"what day comes before {day}", f"which day is before {day}", f"what is the day before {day}"],
            f"Before {day} comes {prev}.", prev)
        add("calendar", [f"if today is {day}, what is tomorrow", f"today is {day}, which day is tomorrow"],
            f"If today is {day}, tomorrow is {nxt}.", nxt)
    for a, b, c in MIXES:
        for x, y in ((a, b), (b, a)):
            add("colour", [f"what colour do {x} and {y} make", f"what do you get if you mix {x} and {y}",
                           f"what color is {x} mixed with {y}", f"what happens when I mix {x} and {y} paint",
                           f"which color do I get from {x} and {y}"],
                f"{cap(x)} and {y} make {c}.", c)
    for thing, colour in THING_COLOURS:
        add("colour", [f"what colour is {thing}", f"what color is {thing}", f"which colour has {thing}", f"which color does {thing} have"],
            f"{cap(thing)} is {colour}.", colour)
    for work, who in WORKERS:
        add("job", [f"who {work}", f"which person {work}", f"what do you call someone who {work}", f"what is a person called who {work}"],
            f"{cap(a_an(who))} {work}.", who)
    for row in TRANSLATIONS:
        for language, word in zip(LANGUAGES, row[1:]):
            add("translation", [f"how do you say {row[0]} in {language}", f"what is {row[0]} in {language}",
                                f"what is the {language} word for {row[0]}", f"translate {row[0]} into {language}",
                                f"how do I say '{row[0]}' in {language}", f"what does {row[0]} mean in {language}"],
                f'"{cap(row[0])}" in {language} is "{word}".', word)
            add("translation", [f"what does {word} mean in English", f"translate the {language} word {word} into English",
                                f"what is the English word for {word} in {language}"],
                f'The {language} word "{word}" means "{row[0]}".' , row[0])
    for what, where, number in UNITS:
        verb = "are there in" if where[0] in "at" else "are in"
        add("number", [f"how many {what} {verb} {where}", f"how many {what} does {where} have", f"what number of {what} does {where} have",
                       f"how many {what} in {where}"],
            f"There are {number} {what} in {where}." if what not in ("sides", "legs", "wheels") else f"{cap(where)} has {number} {what}.",
            number)
    for questions, answer, must in GENERAL:
        add("general", questions.split("/"), answer, must)
    for term, meaning in DEFINITIONS:
        named = _named(term)
        add("definition", [f"what is {named}", f"what's {named}", f"what does {term} mean", f"define {term}", f"explain {term}",
                           f"what do you mean by {term}", f"can you explain what {named} is", f"tell me what {named} is",
                           f"describe {named}"],
            f"{cap(named)} is {meaning}.", " ".join(meaning.split()[-3:]), cap(meaning) + ".")
        add("word for", [f"what do you call {meaning}", f"which word means {meaning}", f"what is the word for {meaning}"],
            f"{cap(meaning)} is called {named}.", term)
    return out


FACTS = build()
BY_TOPIC: dict = {}
for _topic, _fact in FACTS:
    BY_TOPIC.setdefault(_topic, []).append(_fact)
TOPIC_WEIGHTS = {
    "capital": 4, "continent": 2, "language": 1, "money": 1, "animal": 3, "animal yes/no": 2, "opposite": 4, "synonym": 1.5,
    "element": 2.5, "planet": 1, "calendar": 2.5, "colour": 2, "job": 1.5, "translation": 4, "number": 3, "general": 8,
    "definition": 7, "word for": 1.5,
}
_TOPICS = list(TOPIC_WEIGHTS)
_WEIGHTS = list(TOPIC_WEIGHTS.values())


def pick(rng: random.Random) -> tuple:
    """A topic and a fact of it."""
    topic = rng.choices(_TOPICS, _WEIGHTS)[0]
    return topic, rng.choice(BY_TOPIC[topic])


def single(rng: random.Random) -> Sample:
    topic, fact = pick(rng)
    question = rng.choice(fact.questions)
    return Sample("facts", turn(ask(rng, question), fact.answer), ("contains", fact.must), question)


def check_claim(rng: random.Random) -> Sample:
    """Yes/no questions about capitals, opposites and colours, with a correction where the claim is wrong."""
    kind = rng.choice(["capital", "month", "thing"])
    if kind == "capital":
        country, capital = rng.choice(CAPITALS)[:2]
        claim = capital if rng.random() < 0.5 else rng.choice(CAPITALS)[1]
        dot = capital if capital.endswith(".") else capital + "."
        question = rng.choice([f"is {claim} the capital of {country}", f"is it true that {claim} is the capital of {country}"])
        full = f"the capital of {country} is {dot}"
    elif kind == "month":
        i = rng.randrange(12)
        claim = MONTHS[(i + 1) % 12] if rng.random() < 0.5 else rng.choice(MONTHS)
        capital = MONTHS[(i + 1) % 12]
        question = rng.choice([f"does {claim} come after {MONTHS[i]}", f"is {claim} the month after {MONTHS[i]}"])
        full = f"after {MONTHS[i]} comes {capital}."
    else:
        thing, capital = rng.choice(THING_COLOURS)
        claim = capital if rng.random() < 0.5 else rng.choice(["red", "green", "blue", "white", "black", "yellow"])
        question = rng.choice([f"is {thing} {claim}", f"is it true that {thing} is {claim}"])
        full = f"{thing} is {capital}."
    right = claim == capital
    return Sample("claims", turn(ask(rng, question), f"{'Yes' if right else 'No'}, {full}"),
                  ("starts", "Yes" if right else "No"), question)


def follow_up(rng: random.Random) -> Sample:
    """A fact, then 'and of ...?' questions that lean on the turn before."""
    messages = []
    if rng.random() < 0.6:
        chosen = rng.sample(CAPITALS, rng.choice([2, 3, 4]))
        for n, (country, capital, continent, language, _money) in enumerate(chosen):
            dot = capital if capital.endswith(".") else capital + "."
            if n == 0:
                question = rng.choice([q for q in (f"what is the capital of {country}", f"capital of {country}") if not held_out(q)] or [f"capital of {country}, please"])
                question = ask(rng, question)
            else:
                question = noisy(rng, rng.choice([f"And of {country}?", f"And {country}?", f"What about {country}?", f"And what about {country}?"]))
            messages += turn(question, f"The capital of {country} is {dot}")
            if rng.random() < 0.25:
                messages += turn(noisy(rng, rng.choice(["Which language do they speak there?", "What language is spoken there?"])),
                                 f"A main language of {country} is {language}.")
            elif rng.random() < 0.25:
                messages += turn(noisy(rng, rng.choice(["On which continent is it?", "Which continent is that?"])),
                                 f"{cap(country)} is in {continent}.")
        last = messages[-1]["content"]
        return Sample("follow-up", messages, ("contains", last.rstrip(".").split(" is ")[-1].replace("in ", "")),
                      " ".join(m["content"] for m in messages if m["role"] == "user"))
    chosen = rng.sample(OPPOSITES, 3)
    for n, (x, y) in enumerate(chosen):
        question = f"What is the opposite of {x}?" if n == 0 else rng.choice([f"And of {x}?", f"And {x}?", f"What about {x}?"])
        messages += turn(noisy(rng, question), f"The opposite of {x} is {y}.")
    return Sample("follow-up", messages, ("contains", chosen[-1][1]),
                  " ".join(m["content"] for m in messages if m["role"] == "user"))


def fact_lines(rng: random.Random, count: int) -> list:
    """Answer sentences, for plain documents."""
    return [pick(rng)[1].answer for _ in range(count)]
