"""Lists what people call the objects of COCO's categories, and how often.

The weights are counts: how often each noun was the head of an expression about an object of that category among 10,231
RefCOCO train expressions (misspellings and parts of objects left out). Rare categories have their plain names.
"""

from __future__ import annotations

from collections.abc import Mapping

NOUNS: Mapping[str, str] = {
    "person": "guy 775, man 722, person 519, girl 446, woman 434, lady 172, kid 172, boy 158, player 94, dude 69, "
    "child 55, baby 24, chick 17, adult 6",
    "bicycle": "bike 21, bicycle 4, cycle 1",
    "car": "car 98, van 7, suv 3, vehicle 3, cab 2, taxi 1",
    "motorcycle": "bike 56, motorcycle 32, motorbike 4, cycle 4, scooter 4, moto 5",
    "airplane": "plane 28, airplane 5, jet 2, aircraft 1",
    "bus": "bus 109",
    "train": "train 48, tram 2",
    "truck": "truck 51, van 2, pickup 1, lorry 1",
    "boat": "boat 67, canoe 4, ship 2, raft 2, sailboat 1",
    "traffic light": "light 21, stoplight 3, signal 2, traffic light 4",
    "fire hydrant": "hydrant 4, fire hydrant 2",
    "stop sign": "stop sign 3, sign 3",
    "parking meter": "meter 12, parking meter 4",
    "bench": "bench 25, seat 1",
    "bird": "bird 16, duck 4, penguin 4, pigeon 2",
    "cat": "cat 63, kitten 2, kitty 3",
    "dog": "dog 50, puppy 2, pup 1",
    "horse": "horse 112, pony 1",
    "sheep": "sheep 71, animal 13, lamb 8, goat 12",
    "cow": "cow 113, animal 7, calf 2, bull 2",
    "elephant": "elephant 140, animal 3",
    "bear": "bear 31, animal 4",
    "zebra": "zebra 133, animal 2",
    "giraffe": "giraffe 109, animal 5",
    "backpack": "bag 9, backpack 6, pack 1",
    "umbrella": "umbrella 37, parasol 1",
    "handbag": "bag 6, purse 4, handbag 2",
    "tie": "tie 9, necktie 1",
    "suitcase": "suitcase 36, bag 21, luggage 21, case 13, trunk 3",
    "frisbee": "frisbee 4, disc 1",
    "skis": "skis 4, ski 2",
    "snowboard": "board 9, snowboard 4",
    "sports ball": "ball 6, soccer ball 1, baseball 1, tennis ball 1",
    "kite": "kite 8",
    "baseball bat": "bat 5, baseball bat 1",
    "baseball glove": "glove 5, mitt 2",
    "skateboard": "skateboard 5, board 3",
    "surfboard": "board 15, surfboard 11",
    "tennis racket": "racket 4, tennis racket 2, racquet 1",
    "bottle": "bottle 32, jar 6",
    "wine glass": "glass 40, wine glass 12, wine 4, drink 2",
    "cup": "glass 33, cup 17, mug 9, drink 3, coffee 3",
    "fork": "fork 5",
    "knife": "knife 5",
    "spoon": "spoon 5",
    "bowl": "bowl 82, dish 11, plate 6, food 8, container 4",
    "banana": "banana 63, bananas 20, bunch 9, fruit 2",
    "apple": "apple 42, fruit 2",
    "sandwich": "sandwich 59, half 6, bread 8, food 4, sub 1, burger 2",
    "orange": "orange 41, fruit 3",
    "broccoli": "broccoli 36, piece 6, floret 2, veggie 2",
    "carrot": "carrot 8, carrots 4",
    "hot dog": "hot dog 11, hotdog 13, sausage 4",
    "pizza": "pizza 80, slice 12, pie 3, food 4",
    "donut": "donut 77, doughnut 13, food 3",
    "cake": "cake 33, piece 6, dessert 7, slice 3, cupcake 3",
    "chair": "chair 126, seat 13",
    "couch": "couch 64, sofa 14, chair 8, loveseat 2",
    "potted plant": "plant 16, flower 5, flowers 5, tree 4, potted plant 2",
    "bed": "bed 26",
    "dining table": "table 36, desk 1, counter 1",
    "toilet": "toilet 14, urinal 4, potty 2",
    "tv": "monitor 29, screen 24, tv 8, computer 7, television 2",
    "laptop": "laptop 26, computer 3",
    "mouse": "mouse 5",
    "remote": "remote 5, controller 3, remote control 1",
    "keyboard": "keyboard 19",
    "cell phone": "phone 8, cell phone 3, cellphone 2",
    "microwave": "microwave 4",
    "oven": "oven 5, stove 3",
    "toaster": "toaster 4",
    "sink": "sink 5, basin 1",
    "refrigerator": "fridge 6, refrigerator 3, freezer 1",
    "book": "book 32, magazine 3",
    "clock": "clock 16",
    "vase": "vase 40, pot 2",
    "scissors": "scissors 5",
    "teddy bear": "bear 90, teddy bear 30, teddy 24, stuffed animal 5, animal 5, toy 3, doll 2",
    "hair drier": "hair dryer 3, hair drier 1, blow dryer 1",
    "toothbrush": "toothbrush 5, brush 4",
}
PLURALS: Mapping[str, str] = {
    "man": "men",
    "woman": "women",
    "lady": "ladies",
    "person": "people",
    "kid": "kids",
    "child": "children",
    "baby": "babies",
    "sheep": "sheep",
    "calf": "calves",
    "knife": "knives",
    "skis": "skis",
    "scissors": "scissors",
    "broccoli": "broccoli",
    "luggage": "luggage",
    "fruit": "fruit",
    "food": "food",
    "wine": "wines",
    "bananas": "bananas",
    "carrots": "carrots",
    "flowers": "flowers",
    "puppy": "puppies",
    "kitty": "kitties",
    "pony": "ponies",
    "potty": "potties",
    "moto": "motos",
    "aircraft": "aircraft",
}


def nouns(category: str) -> list[tuple[str, float]]:
    """Returns the (noun, weight) pairs of a category; a category unknown here is called by its own name."""
    listed = NOUNS.get(category)
    if listed is None:
        return [(category.replace("_", " ").lower(), 1.0)]
    pairs = (entry.strip().rpartition(" ") for entry in listed.split(","))
    return [(noun, float(weight)) for noun, _, weight in pairs]


def plural(noun: str) -> str:
    """Returns the plural of a noun of one or more words."""
    before, space, last = noun.rpartition(" ")
    if last in PLURALS:
        return before + space + PLURALS[last]
    if last.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"
